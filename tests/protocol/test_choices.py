"""A choice of texts as a regular expression."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from llmcore.protocol.choices import choice_constraint


@given(st.lists(st.text(), min_size=1, max_size=4), st.text())
def test_a_choice_is_one_of_the_texts(choices: list[str], other: str) -> None:
    """Python reads these escapes as Rust's regex does."""
    pattern = re.compile(choice_constraint(choices).pattern)
    assert all(pattern.fullmatch(choice) for choice in choices)
    assert (pattern.fullmatch(other) is not None) == (other in choices)
