"""SeenAnswers: what is found again, by whom, and how much memory that takes."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.speculation.seen_answers import SeenAnswers
from llmcore.speculation.suffix_index import MATCH_MAX

SIZE = 1 << 20
PROMPT = list(range(1000, 1100))


def seen(size_bytes: int = SIZE) -> SeenAnswers:
    return SeenAnswers(size_bytes)


def test_the_last_tokens_of_a_context_find_an_answer() -> None:
    answers = seen()
    answers.add(1, PROMPT, [10, 11, 12, 13, 14, 15])
    match = answers.find(1, [99, 11, 12, 13])
    assert match is not None
    assert (list(match.text), match.at, match.n) == ([10, 11, 12, 13, 14, 15], 4, 3)
    assert answers.find(1, [99, 13]) is None, "one token alone"
    assert answers.find(1, [14, 15]) is None, "nothing follows"
    assert answers.find(1, [99, 11, 12, 13], 1) is None, "no longer match was wanted"


def test_no_tenant_finds_what_another_was_told() -> None:
    answers = seen()
    answers.add(1, PROMPT, [10, 11, 12, 13, 14, 15])
    answers.pin("rules", [50, 51, 52, 53])
    assert answers.find(2, [11, 12, 13]) is None
    assert answers.beginning(2, PROMPT) is None
    assert answers.find(2, [50, 51]) is not None, "pinned prefixes are for all"
    assert answers.beginning(1, PROMPT) is not None


def test_answers_are_dropped_and_pinned_prefixes_stay() -> None:
    answers = seen()
    answers.add(1, PROMPT, [10, 11, 12, 13, 14, 15])
    answers.pin("rules", [50, 51, 52, 53])
    n_bytes = answers.size_bytes
    answers.drop_answers()
    assert (answers.find(1, [11, 12, 13]), answers.beginning(1, PROMPT), len(answers)) == (None, None, 1)
    assert answers.size_bytes < n_bytes
    assert answers.find(1, [50, 51]) is not None
    answers.add(1, PROMPT, [10, 11, 12, 13])
    assert answers.find(1, [11, 12]) is not None


def test_of_two_answers_the_later_is_found() -> None:
    answers = seen()
    answers.add(1, PROMPT, [10, 11, 12, 20])
    answers.add(1, PROMPT, [10, 11, 12, 30])
    match = answers.find(1, [10, 11, 12])
    assert match is not None
    assert match.text[match.at] == 30


def test_a_prompt_alike_finds_the_answer_to_the_one_that_begins_so_for_longest() -> None:
    answers, chat = seen(), list(range(2000, 2200))
    answers.add(1, [*chat, 7, 8], [1, 2, 3, 4])
    answers.add(1, [*chat[:100], 9, 9], [5, 6, 7, 8])
    found = answers.beginning(1, [*chat, 7, 5, 6, 8])
    assert found is not None
    assert list(found.answer) == [1, 2, 3, 4]
    assert found.n_apart <= 4 + 16
    other = answers.beginning(1, [*chat[:100], *range(50)])
    assert other is not None
    assert list(other.answer) in ([1, 2, 3, 4], [5, 6, 7, 8])
    assert answers.beginning(1, list(range(100))) is None
    assert answers.beginning(1, chat[:3]) is None


def test_the_same_answer_is_not_kept_twice() -> None:
    answers = seen()
    for _ in range(3):
        answers.add(1, PROMPT, [10, 11, 12, 20])
    assert len(answers) == 1


def test_pinned_prefixes_stay_until_they_are_unpinned_or_replaced() -> None:
    answers = seen(1 << 16)
    answers.pin("rules", [50, 51, 52, 53])
    for number in range(500):
        answers.add(1, [number], [number, *range(5000, 5100)])
    assert answers.find(1, [50, 51, 52]) is not None
    answers.pin("rules", [60, 61, 62, 63])
    assert answers.find(1, [50, 51, 52]) is None
    assert answers.find(1, [60, 61, 62]) is not None
    answers.unpin("rules")
    answers.unpin("rules")
    assert answers.find(1, [60, 61, 62]) is None


def test_prefixes_that_would_take_most_of_the_room_are_passed_over() -> None:
    answers = seen(1 << 16)
    answers.pin("book", range(800))
    assert len(answers) == 0
    assert answers.find(1, [70, 71, 72, 73]) is None


def test_the_least_recently_used_answer_goes() -> None:
    answers = seen(1 << 16)
    answers.add(1, [1], [10, 11, 12, 13, 14])
    answers.add(1, [1], [20, 21, 22, 23, 24])
    n = 2
    while len(answers) == n:
        assert answers.find(1, [10, 11, 12]) is not None
        answers.add(1, [1], [n * 1000 + each for each in range(5)])
        n += 1
    assert answers.find(1, [10, 11, 12]) is not None
    assert answers.find(1, [20, 21, 22]) is None


def test_an_answer_longer_than_all_room_is_passed_over() -> None:
    answers = seen(1 << 12)
    answers.add(1, [1], range(10_000))
    assert len(answers) == 0


texts = st.lists(st.integers(0, 4), max_size=30)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), texts, texts), max_size=12), texts, st.integers(0, 2), texts)
def test_matches_are_real_and_of_the_tenant(
    added: list[tuple[int, list[int], list[int]]], pinned: list[int], tenant: int, context: list[int]
) -> None:
    answers = seen()
    answers.pin("pin", pinned)
    for each in added:
        answers.add(*each)
    match = answers.find(tenant, context)
    known = [pinned, *(answer for owner, _, answer in added if owner == tenant)]
    if match is None:
        return
    assert list(match.text) in known
    assert 0 < match.at < len(match.text)
    assert 2 <= match.n <= MATCH_MAX
    assert list(match.text[match.at - match.n : match.at]) == context[-match.n :]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), texts), min_size=1, max_size=12), texts)
def test_beginnings_are_of_the_tenant(added: list[tuple[int, list[int]]], prompt: list[int]) -> None:
    answers = seen()
    for number, (tenant, old) in enumerate(added):
        answers.add(tenant, old, [number, 1, 2, 3])
    found = answers.beginning(0, prompt)
    n_shared = {}
    for number, (tenant, old) in enumerate(added):
        n = 0
        while n < min(len(old), len(prompt)) and old[n] == prompt[n]:
            n += 1
        if tenant == 0 and n >= 16:
            n_shared[number] = n // 16
    assert (found is None) == (not n_shared)
    if found is not None:
        assert n_shared[found.answer[0]] == max(n_shared.values())


@pytest.mark.parametrize("size", [1 << 12, 1 << 16, 1 << 20])
def test_never_takes_more_memory_than_it_may(size: int) -> None:
    answers, dice = seen(size), random.Random(3)
    for number in range(600):
        answer: Sequence[int] = [dice.randrange(30_000) for _ in range(dice.randrange(2, 400))]
        if number % 50 == 0:
            answers.pin(f"pin {number % 100}", answer)
        answers.add(dice.randrange(5), answer[:50], answer)
        assert answers.size_bytes <= size


def test_places_that_prompts_and_answers_share_are_told_apart() -> None:
    """A place of a long prompt lies far behind a short answer. In so small a table they often have the same entry."""
    answers, chance = seen(1 << 12), random.Random(1)
    for _ in range(60):
        prompt = [chance.randrange(50) for _ in range(chance.randrange(16, 2000))]
        answers.add(0, prompt, [chance.randrange(50) for _ in range(4)])
        for _ in range(200):
            match = answers.find(0, [chance.randrange(50) for _ in range(8)])
            assert match is None or 0 < match.at < len(match.text)
