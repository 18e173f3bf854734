"""Acceptance: chances that follow what came, in one sequence quickly and over all of them slowly."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.speculation.acceptance import N_CLASSES, Acceptance, SequenceAcceptance, class_of

PRIORS = [[0.3] * N_CLASSES, [0.6] * N_CLASSES]


def test_classes_grow_with_length_and_end() -> None:
    classes = [class_of(n) for n in range(200)]
    assert classes == sorted(classes)
    assert set(classes) == set(range(N_CLASSES))
    assert [class_of(n) for n in (0, 1, 2, 3)] == [0, 1, 2, 3]


def test_begins_with_what_was_given() -> None:
    sequence = SequenceAcceptance(Acceptance(PRIORS))
    assert sequence.chance(0, 5) == pytest.approx(0.3)
    assert sequence.chance(1, 5) == pytest.approx(0.6)


def test_few_misses_are_enough_for_a_sequence_to_stop() -> None:
    sequence = SequenceAcceptance(Acceptance(PRIORS))
    for _ in range(12):
        sequence.observe(1, 3, False)
    assert sequence.chance(1, 3) < 0.1
    assert sequence.chance(1, 20) == pytest.approx(0.6), "another length"
    assert sequence.chance(0, 3) == pytest.approx(0.3), "another kind"


def test_what_sequences_learn_is_the_prior_of_the_next() -> None:
    shared = Acceptance(PRIORS)
    for _ in range(40):
        sequence = SequenceAcceptance(shared)
        for _ in range(5):
            sequence.observe(0, 8, True)
    assert SequenceAcceptance(shared).chance(0, 8) > 0.9


@pytest.mark.parametrize("chance", [0.0, 0.2, 0.8, 1.0])
def test_comes_near_the_true_chance(chance: float) -> None:
    sequence, dice = SequenceAcceptance(Acceptance(PRIORS)), random.Random(7)
    found = []
    for _ in range(600):
        sequence.observe(0, 4, dice.random() < chance)
        found.append(sequence.chance(0, 4))
    assert sum(found[100:]) / 500 == pytest.approx(chance, abs=0.05)


def test_follows_a_text_that_changes() -> None:
    sequence = SequenceAcceptance(Acceptance(PRIORS))
    for is_hit, bound in ((True, 0.85), (False, 0.25), (True, 0.75)):
        for _ in range(40):
            sequence.observe(0, 4, is_hit)
        assert (sequence.chance(0, 4) > bound) == is_hit


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60), st.booleans()), max_size=80),
    st.integers(0, 1),
    st.integers(0, 60),
    st.integers(0, 50),
)
def test_chances_of_a_draft_are_those_of_its_places(
    seen: list[tuple[int, int, bool]], kind: int, length: int, n: int
) -> None:
    sequence = SequenceAcceptance(Acceptance(PRIORS))
    for each in seen:
        sequence.observe(*each)
    chances = sequence.chances(kind, length, n)
    assert chances == tuple(sequence.chance(kind, length + at) for at in range(n))
    assert all(0 < each < 1 for each in chances)
