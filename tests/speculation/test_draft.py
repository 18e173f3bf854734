"""Draft: what a part of it is, and how much of it is expected to be accepted."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.speculation.draft import Draft, n_expected

DRAFT = Draft((5, 6, 7), (0.5, 0.8, 0.9), "text", 4)


def test_a_cut_draft_keeps_its_beginning_and_where_it_comes_from() -> None:
    assert DRAFT.cut(2) == Draft((5, 6), (0.5, 0.8), "text", 4)
    assert DRAFT.cut(3) is DRAFT
    assert DRAFT.cut(9) is DRAFT


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=6))
def test_expected_number_is_that_over_all_outcomes(chances: list[float]) -> None:
    expected = 0.0
    for outcome in itertools.product((True, False), repeat=len(chances)):
        weight, n = 1.0, 0
        for chance, is_accepted in zip(chances, outcome, strict=True):
            weight *= chance if is_accepted else 1 - chance
        while n < len(outcome) and outcome[n]:
            n += 1
        expected += weight * n
    assert n_expected(chances) == pytest.approx(expected, abs=1e-9)
    assert Draft(tuple(range(len(chances))), tuple(chances)).n_expected == n_expected(chances)
