"""common_prefix against the obvious way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore.prefix import common_prefix

tokens = st.lists(st.integers(0, 2), max_size=40)


@given(tokens, tokens, tokens)
def test_is_the_longest_common_prefix(shared: list[int], a: list[int], b: list[int]) -> None:
    left, right = shared + a, shared + b
    n = common_prefix(left, right)
    assert left[:n] == right[:n]
    assert n == min(len(left), len(right)) or left[n] != right[n]
