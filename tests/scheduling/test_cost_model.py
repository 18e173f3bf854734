"""CostModel against invented machines: what it learns, and that it errs on the slow side where it knows nothing."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.scheduling.cost_model import CostModel, Measurement

SIZES = tuple(2**i for i in range(10))


def machine(n_tokens: int, n_outputs: int, n_cells: int) -> float:
    """A machine that reads weights in 30 ms and computes a token in 4 ms, 5 µs for each cell, 1 ms for its logits."""
    return max(0.03, 0.004 * n_tokens) + 5e-6 * n_tokens * n_cells + 0.001 * n_outputs


def test_knows_nothing_at_first() -> None:
    costs = CostModel()
    assert not costs.is_known
    assert costs.prefill_seconds(0, 100, 512) == 0.0


def test_one_measurement_is_predicted_again_and_larger_steps_are_taken_to_be_slow() -> None:
    costs = CostModel([Measurement(16, 0, 0, 0.1)])
    assert costs.is_known
    assert costs.predict(16, 0, 0) == pytest.approx(0.1, rel=0.05)
    assert costs.predict(32, 0, 0) >= 0.18
    assert costs.predict(1, 1, 0) <= 0.11


def test_measurements_tell_base_and_attention_apart() -> None:
    points = [(n, k, cells) for cells in (0, 2000) for n, k in ((1, 1), (16, 0), (64, 0), (256, 0))]
    costs = CostModel([Measurement(*point, machine(*point)) for point in points])
    for point in points:
        assert costs.predict(*point) == pytest.approx(machine(*point), rel=0.1)
    assert costs.predict(64, 0, 1000) == pytest.approx(machine(64, 0, 1000), rel=0.15)
    assert costs.predict(128, 0, 1000) == pytest.approx(machine(128, 0, 1000), rel=0.3)


def test_learns_from_steps_and_follows_a_machine_that_slows_down() -> None:
    costs, chance = CostModel(), random.Random(1)
    for slowness in (1.0, 2.0):
        for _ in range(400):
            n_decode = chance.randrange(1, 9)
            n, cells = n_decode + chance.choice([0, 0, 8, 24, 60]), chance.randrange(0, 4000)
            costs.observe(n, n_decode, cells, slowness * machine(n, n_decode, cells) * chance.uniform(0.95, 1.05))
        for n, n_decode, cells in ((1, 1, 1000), (4, 4, 3000), (40, 4, 2000)):
            assert costs.predict(n, n_decode, cells) == pytest.approx(slowness * machine(n, n_decode, cells), rel=0.3)


def test_one_hiccup_does_not_spoil_it() -> None:
    costs = CostModel([Measurement(1, 1, 0, 0.03), Measurement(64, 0, 0, 0.26)])
    before = costs.predict(1, 1, 0)
    costs.observe(1, 1, 0, 3.0)
    assert costs.predict(1, 1, 0) < 1.5 * before


def test_tokens_within_a_time() -> None:
    points = [(n, 0, cells) for cells in (0, 2000) for n in SIZES]
    costs = CostModel([Measurement(*point, machine(*point)) for point in points])
    n = costs.tokens_within(0.15, 2, 2, 500, 512)
    assert costs.predict(2 + n, 2, 500 + n) <= 0.15 < costs.predict(3 + n, 2, 501 + n)
    assert costs.tokens_within(0.001, 2, 2, 500, 512) == 0
    assert costs.tokens_within(60.0, 0, 0, 0, 512) == 512


def test_seconds_of_a_prompt() -> None:
    points = [(n, 0, cells) for cells in (0, 2000) for n in SIZES]
    costs = CostModel([Measurement(*point, machine(*point)) for point in points])
    assert costs.prefill_seconds(10, 10, 64) == 0.0
    assert costs.prefill_seconds(0, 2048, 512) == pytest.approx(4 * machine(512, 0, 1024), rel=0.2)
    assert costs.prefill_seconds(2000, 3000, 512) > costs.prefill_seconds(0, 1000, 512)


observation = st.tuples(st.integers(1, 9000), st.integers(0, 256), st.integers(0, 10**5), st.floats(1e-5, 1e3))


@settings(deadline=None)
@given(st.lists(observation, min_size=1, max_size=40), observation)
def test_predictions_stay_positive_and_finite(
    seen: list[tuple[int, int, int, float]], asked: tuple[int, int, int, float]
) -> None:
    costs = CostModel()
    for each in seen:
        costs.observe(*each)
    assert 0 < costs.predict(*asked[:3]) < float("inf")
    assert 0 <= costs.tokens_within(asked[3], 1, 1, asked[2], 512) <= 512
    assert costs.describe()["n_tokens"]


STAIRS = {1: 0.11, 4: 0.11, 8: 0.122, 9: 0.18, 16: 0.2}


def test_steps_with_more_tokens_are_predicted_on_the_line_between_those_measured() -> None:
    costs = CostModel([Measurement(n, n, 0, each) for n, each in STAIRS.items()])
    seconds = costs.predict_more(1, 1, 0, 15)
    assert len(seconds) == 16
    for n, each in STAIRS.items():
        assert seconds[n - 1] == pytest.approx(each, rel=0.02)
    assert seconds[5] == pytest.approx(0.116, rel=0.02)
    assert costs.predict_more(6, 6, 0, 2) == pytest.approx(seconds[5:8])


def test_sizes_that_were_not_measured_are_hoped_to_be_fast_and_taken_to_be_slow() -> None:
    costs = CostModel([Measurement(n, 1, 0, each) for n, each in ((1, 0.11), (4, 0.11), (16, 0.2))])
    assert costs.predict_more(8, 1, 0, 0)[0] == pytest.approx(0.14, rel=0.02)
    assert costs.predict(8, 1, 0) == pytest.approx(0.2, rel=0.02)
    assert costs.predict_more(32, 1, 0, 0)[0] == pytest.approx(0.4, rel=0.02), "nothing is hoped beyond the last one"


def test_a_size_that_was_slow_once_is_hoped_to_be_fast_again_after_a_while() -> None:
    costs = CostModel([Measurement(n, n, 0, each) for n, each in STAIRS.items() if n != 8])
    costs.observe(8, 8, 0, 0.5)
    assert costs.predict_more(8, 8, 0, 0)[0] > 0.4
    for _ in range(40):
        costs.observe(4, 4, 0, STAIRS[4])
    assert costs.predict_more(8, 8, 0, 0)[0] < 0.18
    for _ in range(3):
        costs.observe(8, 8, 0, STAIRS[8])
    assert costs.predict_more(8, 8, 0, 0)[0] < 0.25


def test_one_hiccup_is_hardly_learned_from_and_two_are() -> None:
    costs = CostModel([Measurement(n, n, 0, each) for n, each in STAIRS.items()])
    before = costs.predict(4, 4, 0)
    costs.observe(4, 4, 0, 3 * before)
    assert costs.predict(4, 4, 0) < 1.1 * before
    costs.observe(4, 4, 0, 3 * before)
    assert costs.predict(4, 4, 0) > 1.15 * before


def test_a_size_not_seen_for_long_is_learned_anew_faster() -> None:
    known = [Measurement(n, n, 0, each) for n, each in STAIRS.items()]
    often, seldom = CostModel(known), CostModel(known)
    for costs, n_others in ((often, 0), (seldom, 60)):
        for _ in range(n_others):
            costs.observe(16, 16, 0, STAIRS[16])
        assert costs.n_since(1) == n_others
        costs.observe(1, 1, 0, 1.3 * STAIRS[1])
        assert costs.n_since(1) == 0
    assert often.predict(1, 1, 0) < 1.1 * STAIRS[1]
    assert seldom.predict(1, 1, 0) > 1.2 * STAIRS[1]


@settings(deadline=None)
@given(
    st.lists(observation, max_size=30),
    st.integers(1, 300),
    st.integers(0, 300),
    st.integers(0, 10**5),
    st.integers(0, 80),
)
def test_hopeful_predictions_stay_positive_and_finite(
    seen: list[tuple[int, int, int, float]], n_tokens: int, n_outputs: int, n_cells: int, n_more: int
) -> None:
    costs = CostModel()
    for each in seen:
        costs.observe(*each)
    seconds = costs.predict_more(n_tokens, n_outputs, n_cells, n_more)
    assert len(seconds) == n_more + 1
    assert all(0 <= each < float("inf") for each in seconds)
    assert not seen or min(seconds) > 0
