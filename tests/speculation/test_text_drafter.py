"""TextDrafter: how much of known answers it drafts, what it learns, whose text it uses and how much memory it takes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.speculation.memory_budget import MemoryBudget
from llmcore.speculation.seen_answers import SeenAnswers
from llmcore.speculation.text_drafter import TextDrafter
from tests.speculation.answering import answer, sequence

BUDGET = 1 << 22


def drafter(seen: SeenAnswers | None = None, n_bytes: int = BUDGET) -> TextDrafter:
    return TextDrafter(seen or SeenAnswers(1 << 20), MemoryBudget(n_bytes))


def chain(start: int, n: int) -> list[int]:
    return list(range(start, start + n))


def disturbed(text: list[int], share: float, dice: random.Random) -> list[int]:
    """Returns a text of which a share of the tokens is replaced."""
    return [each if dice.random() >= share else dice.randrange(100_000, 200_000) for each in text]


def test_a_quotation_is_drafted() -> None:
    text = chain(100, 300)
    outcome = answer(drafter(), sequence([*text, 1, 2, 100], 300), text[1:])
    assert outcome.tokens_per_step > 7.5


@pytest.mark.parametrize(("share", "most"), [(0.1, 5.69), (0.2, 4.16), (0.4, 2.46)])
def test_a_quotation_with_changes_is_followed_through_them(share: float, most: float) -> None:
    """`most` is the number of tokens in a step of 8 places if each place was drafted with the chance 1 - share."""
    one, dice, n_tokens, n_steps = drafter(), random.Random(5), 0, 0
    for number in range(10):
        text = chain(1000 * number, 400)
        outcome = answer(one, sequence([*disturbed(text, share, dice), text[0]], 400, str(number)), text[1:])
        n_tokens, n_steps = n_tokens + outcome.n_tokens, n_steps + outcome.n_steps
    assert n_tokens / n_steps > 0.8 * most


def test_chances_come_true() -> None:
    dice = random.Random(9)
    for share in (0.0, 0.2, 0.5, 0.9):
        one, accepted, expected = drafter(), 0, 0.0
        for number in range(12):
            text = chain(1000 * number, 300)
            outcome = answer(one, sequence([*disturbed(text, share, dice), text[0]], 300, str(number)), text[1:])
            accepted, expected = accepted + outcome.n_accepted, expected + outcome.n_expected
        assert expected == pytest.approx(accepted, rel=0.3, abs=0.05 * 12 * 300)


def test_text_that_never_comes_true_is_expected_to_do_so_no_more() -> None:
    dice = random.Random(2)
    asked = sequence([dice.randrange(50) for _ in range(2000)], 500)
    one = drafter()
    answer(one, asked, [dice.randrange(50) for _ in range(200)])
    draft = one.propose(asked, 7)
    assert draft is None or draft.n_expected < 0.15


def test_learns_from_tokens_that_no_step_verified() -> None:
    one, asked = drafter(), sequence([1, 2, 3, 4, 5, 6, 1], 100)
    first = one.propose(asked, 3)
    assert first is not None
    assert first.tokens == (2, 3, 4)
    for token in (7, 1, 8, 1, 9, 1):  # nothing is ever verified
        asked.tokens.append(token)
        one.propose(asked, 3)
    asked.tokens += [3, 4, 99, 1]
    last = one.propose(asked, 1)
    assert last is None or last.chances[0] < first.chances[0]


def test_a_text_that_repeats_itself_is_continued() -> None:
    asked = sequence([9, 1, 2, 3, 1, 2, 3], 100)
    draft = drafter().propose(asked, 8)
    assert draft is not None
    assert draft.tokens == (1, 2, 3, 1, 2, 3, 1, 2)


def test_the_answer_itself_is_drafted_from() -> None:
    row = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    outcome = answer(drafter(), sequence([1, 2], 200), row * 10)
    assert outcome.tokens_per_step > 3.5


# --- Answers seen before ----------------------------------------------------------------------------------------------


def test_a_cancelled_answer_is_the_draft_of_the_next_one() -> None:
    one, question, text = drafter(), chain(500, 100), chain(10, 80)
    cancelled = sequence([*question, 7, 6], 200, "first")
    answer(one, cancelled, text[:40])
    one.forget(cancelled)
    asked = sequence([*question, 7, 5, 4, 6], 200, "second")
    first = one.propose(asked, 5)
    assert first is not None
    assert first.tokens == tuple(text[:5]), "from the first token on"
    outcome = answer(one, asked, text[:40])
    assert outcome.tokens_per_step > 7
    other = sequence([*question, 7, 5, 4, 6], 200, "other", tenant=1)
    assert one.propose(other, 5) is None, "another tenant's"


def test_earlier_answers_are_found_by_their_tokens() -> None:
    one, text = drafter(), chain(10, 60)
    earlier = sequence([1, 2, 3], 200, "earlier")
    answer(one, earlier, text)
    one.forget(earlier)
    asked = sequence([900, 901, 902], 200, "now")
    asked.tokens += [33, 34, 35]
    draft = one.propose(asked, 4)
    assert draft is not None
    assert draft.tokens == (36, 37, 38, 39)


@pytest.mark.parametrize("field", ["is_prefix", "is_kept"])
def test_prefixes_and_requests_that_shall_leave_nothing_behind_are_not_remembered(field: str) -> None:
    seen = SeenAnswers(1 << 20)
    one, asked = drafter(seen), sequence([1, 2, 3], 200)
    setattr(asked, field, field == "is_prefix")
    asked.tokens += chain(10, 60)
    one.forget(asked)
    assert len(seen) == 0


def test_pinned_prefixes_are_drafted_from() -> None:
    seen = SeenAnswers(1 << 20)
    seen.pin("rules", chain(10, 60))
    asked = sequence([900, 901, 33, 34, 35], 200)
    draft = drafter(seen).propose(asked, 3)
    assert draft is not None
    assert draft.tokens == (36, 37, 38)


# --- Sequences that change, and memory --------------------------------------------------------------------------------


def test_a_context_shift_begins_anew() -> None:
    one, asked = drafter(), sequence(chain(100, 50), 300)
    answer(one, asked, [*chain(100, 30), *chain(300, 20)])
    del asked.tokens[20:60]
    asked.n_dropped += 40
    asked.tokens += [105, 106]
    draft = one.propose(asked, 3)
    assert draft is not None
    assert draft.tokens == (107, 108, 109)


def test_memory_of_sequences_comes_back() -> None:
    budget = MemoryBudget(1 << 22)
    one = TextDrafter(SeenAnswers(1 << 16), budget)
    asked = [sequence(chain(100, 30 * n), 3000, str(n)) for n in range(1, 12)]
    for each in asked:
        answer(one, each, chain(100, 700))
    assert 0 < budget.used_bytes <= budget.size_bytes
    for each in asked:
        one.forget(each)
        one.forget(each)
    assert budget.used_bytes == 0


def test_with_too_little_memory_some_is_still_drafted() -> None:
    budget = MemoryBudget(200_000)
    one, text = TextDrafter(SeenAnswers(1 << 16), budget), chain(100, 3000)
    outcome = answer(one, sequence([*text, 100], 3000), text[1:2000])
    assert budget.used_bytes <= budget.size_bytes
    assert outcome.tokens_per_step > 4


def test_with_no_memory_nothing_is_drafted() -> None:
    one = drafter(n_bytes=100)
    assert one.propose(sequence([1, 2, 3, 1, 2, 3], 100), 4) is None


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), max_size=30),
    st.integers(1, 12),
)
def test_a_draft_is_the_continuation_of_text_that_is_there(
    prompt: list[int], steps: list[list[int]], n_max: int
) -> None:
    one, asked = drafter(), sequence(prompt, 1000)
    for tokens in steps:
        draft = one.propose(asked, n_max)
        if draft is not None:
            assert 0 < len(draft.tokens) == len(draft.chances) <= n_max
            known = [*asked.tokens, *draft.tokens]
            pieces = [tuple(known[at : at + len(draft.tokens)]) for at in range(len(asked.tokens))]
            assert draft.tokens in pieces
        asked.tokens += tokens
