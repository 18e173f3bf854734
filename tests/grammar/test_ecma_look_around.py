"""Look-around as conditions on a whole text."""

from __future__ import annotations

import pytest

from llmcore.grammar.ecma_look_around import LookAround, LookArounds
from llmcore.grammar.ecma_nodes import LookAroundError, text
from llmcore.grammar.ecma_tree import NO_TEXT, START, Matches, one_of, repetition, sequence
from tests.grammar.rust_expressions import in_python

A, B = one_of(((97, 97),)), one_of(((98, 98),))


def holds(look: LookAround, value: str) -> bool:
    return in_python(text(look.condition())).fullmatch(value) is not None


def test_a_negative_one_excludes_texts() -> None:
    look = LookAround(sequence(START, A), B, is_behind=False, is_negative=True)
    assert [value for value in ("ab", "abc", "a", "ac", "xab") if holds(look, value)] == ["a", "ac", "xab"]


def test_a_positive_one_demands_a_text_at_a_fixed_place() -> None:
    look = LookAround(sequence(START, A), B, is_behind=False, is_negative=False)
    assert [value for value in ("ab", "abc", "a", "xab") if holds(look, value)] == ["ab", "abc"]
    many: Matches = sequence(START, repetition(A, 0, None))
    with pytest.raises(LookAroundError, match="fixed"):
        LookAround(many, B, is_behind=False, is_negative=False).condition()


def test_one_that_looks_back_sees_what_follows_it() -> None:
    found = LookArounds()
    found.add(LookAround(NO_TEXT, A, is_behind=True, is_negative=True))
    found.follow(B)
    [node] = found.conditions()
    assert in_python(text(node)).fullmatch("ab") is None
    assert in_python(text(node)).fullmatch("bb") is not None
