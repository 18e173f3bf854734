"""Anchors within expressions: where they can hold, and what is left of them."""

from __future__ import annotations

from llmcore.grammar.ecma_nodes import EMPTY, NEVER, text
from llmcore.grammar.ecma_tree import END, FREE, NOTHING, START, Matches, alternatives, one_of, repetition, sequence

A = one_of(((97, 97),))


def test_an_anchor_needs_nothing_beside_it() -> None:
    assert sequence(A, START) == NOTHING
    assert sequence(END, A) == NOTHING
    assert sequence(START, A).is_anchored == (True, False)
    assert text(sequence(sequence(START, A), END).whole()) == "a"
    assert sequence(Matches({FREE: EMPTY}), START) == START


def test_without_anchors_a_match_may_stand_anywhere() -> None:
    assert text(A.whole()) == "(?s:.*)a(?s:.*)"
    assert text(sequence(A, END).whole()) == "(?s:.*)a"
    assert NOTHING.whole() == NEVER


def test_anchored_matches_are_the_first_or_the_last_of_a_repetition() -> None:
    both = alternatives([sequence(START, A), sequence(A, END)])
    assert text(repetition(both, 1, 1).whole()) == "(?:a(?s:.*)|(?s:.*)a)"
    assert (True, True) in repetition(both, 2, 2).by_anchors
    assert repetition(sequence(START, A), 2, None) == NOTHING
    assert repetition(A, 0, 0) == Matches({FREE: EMPTY})
