"""Cursor: follows a text through changes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.speculation.acceptance import N_CLASSES, Acceptance, SequenceAcceptance
from llmcore.speculation.cursor import SURE, Cursor

FOUND, RESUMED = 0, 1
TEXT = list(range(100, 200))


def cursor(at: int = 0) -> Cursor:
    return Cursor(TEXT, at, 3, FOUND, RESUMED)


def advance(cursor: Cursor, *tokens: int) -> list[bool]:
    return [cursor.advance(each, len(cursor.text)) for each in tokens]


def test_moves_on_while_the_answer_agrees() -> None:
    found = cursor()
    assert advance(found, 100, 101) == [True, True]
    assert (found.at, found.length, found.kind) == (2, 5, FOUND)
    assert found.read(3) == (102, 103, 104)


def test_a_token_that_differs_replaces_the_texts() -> None:
    found = cursor()
    assert advance(found, 7, 101) == [False, True]
    assert (found.at, found.length, found.kind, found.is_resumed) == (2, 1, RESUMED, True)


def test_tokens_of_the_text_may_be_left_out() -> None:
    found = cursor()
    assert advance(found, 105, 106) == [False, True]
    assert (found.at, found.length) == (7, 2)


def test_is_as_sure_as_before_when_enough_tokens_agree() -> None:
    found = cursor()
    advance(found, 7, *range(101, 101 + SURE - 1))
    assert found.is_resumed
    advance(found, 101 + SURE - 1)
    assert not found.is_resumed


def test_is_lost_after_some_misses_or_at_the_end() -> None:
    found, lost = cursor(), []
    for token in (7, 8, 9):
        advance(found, token)
        lost.append(found.is_lost)
    assert lost == [False, False, True]
    at_end = cursor(98)
    advance(at_end, 198)
    lost = [at_end.is_lost]
    advance(at_end, 199)
    assert [*lost, at_end.is_lost] == [False, True]


def test_does_not_look_at_tokens_that_are_not_known_yet() -> None:
    found = cursor()
    assert not found.advance(105, 4)
    assert found.at == 1


def test_a_text_that_repeats_itself_goes_on_so() -> None:
    found = Cursor([1, 2, 3, 1, 2, 3], 3, 3, FOUND, RESUMED)
    assert found.read_repeating(2) == (1, 2)
    assert found.read_repeating(8) == (1, 2, 3, 1, 2, 3, 1, 2)


def test_chances_behind_a_miss_become_those_of_its_kind() -> None:
    acceptance = SequenceAcceptance(Acceptance([[0.9] * N_CLASSES, [0.4] * N_CLASSES]))
    found = cursor()
    assert set(found.chances(acceptance, 4)) == {acceptance.chance(FOUND, 3)}
    advance(found, 7, 101)
    low, high = acceptance.chance(RESUMED, 1), acceptance.chance(FOUND, SURE)
    assert found.chances(acceptance, SURE + 1) == (low,) * (SURE - 1) + (high,) * 2
    assert found.chances(acceptance, 2) == (low,) * 2


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=40), st.lists(st.integers(0, 5), max_size=40))
def test_stays_in_its_text(text: list[int], answer: list[int]) -> None:
    found = Cursor(text, 1, 1, FOUND, RESUMED)
    for token in answer:
        was = found.at
        assert found.advance(token, len(text)) == (text[was] == token)
        assert was < found.at <= len(text)
        if found.is_lost:
            return
        assert found.read(3) == tuple(text[found.at : found.at + 3])
        assert found.length == 0 or text[found.at - 1] == token
