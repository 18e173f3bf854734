"""PredictionDrafter: edits of a predicted text, and predictions that are wrong, empty or too long."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.speculation.memory_budget import MemoryBudget
from llmcore.speculation.prediction_drafter import PredictionDrafter
from tests.speculation.answering import answer, sequence

BUDGET = 1 << 22
DICE = random.Random(4)
# A text in which, as in code, few tokens come often.
TEXT = [DICE.choice([*range(10), *range(1000, 1200)]) for _ in range(600)]


def drafter(n_bytes: int = BUDGET) -> PredictionDrafter:
    return PredictionDrafter(MemoryBudget(n_bytes))


def edited(kind: str) -> list[int]:
    """Returns TEXT with an edit every 60 tokens."""
    found: list[int] = []
    for at in range(0, len(TEXT), 60):
        part = TEXT[at : at + 60]
        edits = {
            "replaced": [9001, 9002, 9003],
            "inserted": [9001, 9002, *part[:3]],
            "left out": [],
            "a part left out": [],
        }
        n_lost = 30 if kind == "a part left out" else 3
        found += [*edits[kind], *part[n_lost:]]
    return found


def test_a_prediction_that_comes_true_is_the_whole_answer() -> None:
    one, asked = drafter(), sequence([1, 2], 700)
    assert one.predict(asked, TEXT)
    outcome = answer(one, asked, TEXT)
    assert outcome.n_accepted == outcome.n_drafted
    assert outcome.tokens_per_step > 7.9


@pytest.mark.parametrize("kind", ["replaced", "inserted", "left out", "a part left out"])
def test_an_edit_is_followed(kind: str) -> None:
    one, asked, text = drafter(), sequence([1, 2], 700), edited(kind)
    assert one.predict(asked, TEXT)
    assert answer(one, asked, text).tokens_per_step > 5


def test_a_long_new_part_does_not_lose_the_place_behind_it() -> None:
    one, asked = drafter(), sequence([1, 2], 1000)
    text = [*TEXT[:100], *range(5000, 5200), *TEXT[100:]]
    assert one.predict(asked, TEXT)
    answer(one, asked, text[:300])
    assert answer(one, asked, text[300:]).tokens_per_step > 6


def test_a_wrong_prediction_is_expected_to_be_wrong() -> None:
    one, asked = drafter(), sequence([1, 2], 700)
    assert one.predict(asked, TEXT)
    outcome = answer(one, asked, [DICE.randrange(20_000, 90_000) for _ in range(300)])
    assert outcome.n_accepted == 0
    assert outcome.n_expected < 6
    draft = one.propose(asked, 7)
    assert draft is None or draft.n_expected < 0.2


def test_sequences_without_a_prediction_get_no_draft() -> None:
    one, asked = drafter(), sequence([1, 2, 1], 100)
    assert one.propose(asked, 5) is None
    assert not one.predict(asked, [])
    assert one.propose(asked, 5) is None


def test_memory_is_bounded_and_comes_back() -> None:
    budget = MemoryBudget(BUDGET)
    one, asked = PredictionDrafter(budget), sequence([1, 2], 100)
    assert not one.predict(asked, range(200_000))
    assert budget.used_bytes == 0
    assert one.predict(asked, range(1000))
    assert one.predict(asked, range(2000)), "in place of the first"
    used = budget.used_bytes
    assert 40 * 2000 <= used <= 100 * 2000
    one.forget(asked)
    one.forget(asked)
    assert budget.used_bytes == 0
    assert one.propose(asked, 5) is None


def test_goes_on_after_a_context_shift() -> None:
    one, asked = drafter(), sequence([1, 2, 3, 4, 5, 6], 700)
    assert one.predict(asked, TEXT)
    answer(one, asked, TEXT[:200])
    del asked.tokens[2:80]
    asked.n_dropped += 78
    assert answer(one, asked, TEXT[200:400]).tokens_per_step > 6


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), max_size=30),
    st.integers(1, 12),
)
def test_a_draft_is_a_part_of_the_prediction(text: list[int], steps: list[list[int]], n_max: int) -> None:
    one, asked = drafter(), sequence([7], 1000)
    assert one.predict(asked, text)
    for tokens in steps:
        draft = one.propose(asked, n_max)
        if draft is not None:
            n = len(draft.tokens)
            assert 0 < n == len(draft.chances) <= n_max
            assert draft.tokens in [tuple(text[at : at + n]) for at in range(len(text))]
        asked.tokens += tokens
