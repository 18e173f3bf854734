"""Sets of characters."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from llmcore.grammar.characters import ANY, complement, is_character, joined, regex

CODES = st.integers(0, 0x110010) | st.sampled_from([0, 1, 0xD7FF, 0xD800, 0xDFFF, 0xE000, 0x10FFFF])
RANGES = st.lists(st.tuples(CODES, CODES).map(sorted).map(lambda ends: (ends[0], ends[1])), max_size=5)


@given(RANGES, CODES)
def test_sets_of_characters(ranges: list[tuple[int, int]], code: int) -> None:
    inside = any(low <= code <= high for low, high in ranges)
    found, others = joined(ranges), complement(ranges)
    assert any(low <= code <= high for low, high in found) == (inside and is_character(code))
    assert any(low <= code <= high for low, high in others) == (not inside and is_character(code))
    for each in (found, others):
        assert all(low <= high for low, high in each)
        assert all(one[1] < other[0] for one, other in itertools.pairwise(each))
    assert any(low <= code <= high for low, high in ANY) == is_character(code)


def test_a_regular_expression_has_each_range() -> None:
    assert regex(((0x61, 0x61), (0x30, 0x39))) == r"[\x{61}\x{30}-\x{39}]"
