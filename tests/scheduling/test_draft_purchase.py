"""DraftPurchase against a search over all ways to buy, and on machines like those that were measured."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.limits import RowTile
from llmcore.scheduling.cost_model import CostModel, Measurement
from llmcore.scheduling.draft_purchase import DraftPurchase, StepSize

EVEN, PADDED = RowTile(is_padded=False), RowTile(n_rows=16, n_rows_small=4, is_padded=True)

# Seconds of a step by its rows, all with logits: an 8B and a 1B shape on two cores with our kernels, an 8B one with llama.cpp's.
LARGE = {1: 0.110, 4: 0.110, 8: 0.122, 9: 0.18, 16: 0.21, 64: 0.7}
SMALL = {1: 0.0133, 4: 0.0153, 8: 0.0212, 16: 0.036, 64: 0.12}
ROW_BY_ROW = {1: 0.118, 2: 0.2, 4: 0.291, 8: 0.519, 16: 0.9, 64: 3.0}

ONE = StepSize(1, 1, 0)


def purchase(seconds: dict[int, float], tile: RowTile = EVEN) -> DraftPurchase:
    return DraftPurchase(CostModel([Measurement(n, n, 0, each) for n, each in seconds.items()]), tile)


def n_bought(seconds: dict[int, float], chance: float, n_callers: int = 1, **limits: float) -> int:
    step, drafts = StepSize(n_callers, n_callers, 0), [(chance,) * 16] * n_callers
    return sum(purchase(seconds).buy(drafts, step, n_free=64, **limits))  # type: ignore[arg-type]


def test_sure_drafts_are_bought_and_hopeless_ones_are_not() -> None:
    assert n_bought(LARGE, 0.8) == 7
    assert n_bought(SMALL, 0.8) >= 4
    assert n_bought(SMALL, 0.02) == 0
    assert n_bought(LARGE, 0.005) == 0
    assert n_bought(SMALL, 0.99) > n_bought(SMALL, 0.5) > 0


def test_rows_that_cost_nothing_are_used_even_by_drafts_that_seldom_come_true() -> None:
    assert 1 <= n_bought(LARGE, 0.1) <= 3


def test_kernels_that_pay_for_each_row_get_no_drafts() -> None:
    assert n_bought(ROW_BY_ROW, 0.5) == 0
    assert n_bought(ROW_BY_ROW, 0.6, n_callers=4) == 0


def test_a_full_batch_gets_none() -> None:
    per_row = {n: 0.1 + 0.02 * max(n - 16, 0) for n in (1, 8, 16, 24, 32, 64)}
    assert n_bought(per_row, 0.8, n_callers=16) == 0
    assert n_bought(per_row, 0.8, n_callers=2) > 4


def test_the_search_looks_over_a_stair() -> None:
    stairs = {1: 0.1, 2: 0.14, 4: 0.14, 5: 0.24, 8: 0.24, 9: 0.5, 16: 0.5}
    # One token alone does not pay (1.3 / 0.14 < 1 / 0.1), three do.
    buyer = purchase(stairs)
    assert buyer.buy([(0.3,)], ONE, n_free=64) == [0]
    assert buyer.buy([(0.9, 0.3, 0.3)], ONE, n_free=64) == [3] or n_bought(stairs, 0.7) == 3


def test_likelier_drafts_come_first() -> None:
    bought = purchase(LARGE).buy([(0.2,) * 7, (0.95,) * 7], StepSize(2, 2, 0), n_free=64)
    assert bought[1] > bought[0]
    assert purchase(LARGE).buy([(0.9,) * 7, (), (0.9,) * 7], StepSize(3, 3, 0), n_free=2) == [1, 0, 1]


def test_room_and_target_are_kept() -> None:
    assert n_bought(LARGE, 0.95) > 3
    assert purchase(LARGE).buy([(0.95,) * 7], ONE, n_free=3) == [3]
    assert purchase(LARGE).buy([(0.95,) * 7], ONE, n_free=0) == [0]
    assert purchase(LARGE).buy([(0.95,) * 7], ONE, n_free=-2) == [0]
    assert n_bought(SMALL, 0.99, target_s=0.016) == 13  # steps of 16 rows take more than twice the target
    assert n_bought(SMALL, 0.99, target_s=0.2) > 8


def test_a_step_that_takes_longer_than_its_target_anyway_may_have_cheap_drafts() -> None:
    assert n_bought(LARGE, 0.9, target_s=0.05) == 7


def test_beside_prompts_a_draft_token_costs_what_a_prompts_token_costs() -> None:
    buyer = purchase(SMALL)
    alone = buyer.buy([(0.5,) * 16], ONE, n_free=64)
    beside = buyer.buy([(0.5,) * 16], ONE, n_free=64, n_beside=63)
    assert 0 < beside[0] <= alone[0]
    assert buyer.buy([(0.05,) * 16], ONE, n_free=64, n_beside=63) == [0]


def test_nothing_is_bought_while_costs_are_unknown_or_nothing_is_decoded() -> None:
    assert DraftPurchase(CostModel(), EVEN).buy([(1.0,)], ONE, n_free=8) == [0]
    assert purchase(LARGE).buy([(1.0,)], StepSize(64, 0, 0), n_free=8) == [0]
    assert purchase(LARGE).buy([], ONE, n_free=8) == []


def test_nothing_is_worth_proposing_where_even_certain_tokens_do_not_pay() -> None:
    row_by_row = {n: 0.1 * n for n in (1, 2, 4, 8, 16, 64)}
    assert purchase(row_by_row).n_worth(ONE, n_free=16) == 0
    assert purchase(LARGE).n_worth(ONE, n_free=16) >= 7
    assert purchase(LARGE).n_worth(ONE, n_free=0) == 0


def test_padded_tiles_are_filled() -> None:
    padded = {1: 0.118, 4: 0.12, 8: 0.2, 12: 0.28, 16: 0.3, 64: 1.2}
    buyer = purchase(padded, PADDED)
    for chance in (0.3, 0.6, 0.8, 0.95):
        [n] = buyer.buy([(chance,) * 16], ONE, n_free=16)
        assert (1 + n) % 4 == 0 or n == 0
    assert buyer.buy([(0.9, 0.9)], ONE, n_free=16) == [2], "part of a tile is bought if there is no more"


def test_a_step_without_drafts_is_measured_again_now_and_then() -> None:
    costs = CostModel([Measurement(n, n, 0, each) for n, each in SMALL.items()])
    buyer, n_without = DraftPurchase(costs, EVEN), 0
    for _ in range(1500):
        [n] = buyer.buy([(0.9,) * 7], ONE, n_free=16)
        n_without += n == 0
        costs.observe(1 + n, 1 + n, 0, 0.0212 if n else 0.0133)
    assert 1 <= n_without <= 10


def test_what_is_worth_proposing_does_not_depend_on_such_checks() -> None:
    costs = CostModel([Measurement(n, n, 0, each) for n, each in SMALL.items()])
    buyer = DraftPurchase(costs, EVEN)
    for _ in range(600):
        costs.observe(8, 8, 0, 0.0212)
    assert buyer.buy([(0.9,) * 7], ONE, n_free=16) == [0]
    assert buyer.n_worth(ONE, n_free=16) > 0


def test_drafts_that_seem_to_pay_after_a_hiccup_do_so_no_longer_than_a_while() -> None:
    costs = CostModel([Measurement(n, n, 0, each) for n, each in SMALL.items()])
    buyer, n_wrong = DraftPurchase(costs, EVEN), 0
    for _ in range(2):
        costs.observe(1, 1, 0, 0.0133 * 1.9)
    for _ in range(300):
        [n] = buyer.buy([(0.05,) * 7], ONE, n_free=16)
        n_wrong += n > 0
        costs.observe(1 + n, 1 + n, 0, {0: 0.0133}.get(n, 0.0133 + 0.001 * n))
    assert n_wrong <= 80


chances = st.lists(st.floats(0, 1), max_size=4)


@settings(deadline=None)
@given(
    st.lists(chances, max_size=3),
    st.lists(st.floats(0.001, 1.0), min_size=1, max_size=16),
    st.integers(0, 3),
    st.integers(0, 9),
)
def test_no_other_way_to_buy_gives_more_tokens_per_second(
    drafts: list[list[float]], rises: list[float], n_forced: int, n_free: int
) -> None:
    seconds = dict(enumerate(itertools.accumulate(rises), 1))
    costs = CostModel([Measurement(n, n, 0, each) for n, each in seconds.items()])
    step = StepSize(len(drafts) + n_forced, len(drafts), 0)
    bought = DraftPurchase(costs, EVEN).buy(drafts, step, n_free=n_free)
    predicted = list(itertools.accumulate(costs.predict_more(*step, 12), max)) if drafts else []

    def rate(ns: tuple[int, ...]) -> float:
        expected = sum(
            sum(itertools.accumulate(each[:n], lambda a, b: a * b)) for each, n in zip(drafts, ns, strict=True)
        )
        return (len(drafts) + expected) / predicted[sum(ns)]

    assert len(bought) == len(drafts)
    if not drafts:
        return
    ways = [ns for ns in itertools.product(*(range(len(each) + 1) for each in drafts)) if sum(ns) <= n_free]
    best, alone = max(map(rate, ways)), rate((0,) * len(drafts))
    if any(bought):
        assert tuple(bought) in ways
        assert rate(tuple(bought)) > alone
        assert rate(tuple(bought)) == pytest.approx(best)
    else:
        assert best <= alone * 1.02 * (1 + 1e-9)


def test_seconds_are_those_of_the_cost_model() -> None:
    """Where all sizes were measured, both predictions of the cost model are the same."""
    costs = CostModel(
        [Measurement(n, n, cells, each + 1e-6 * n * cells) for n, each in LARGE.items() for cells in (0, 900)]
    )
    for n in LARGE:
        assert costs.predict_more(n, n, 500, 0)[0] == pytest.approx(costs.predict(n, n, 500))
    assert all(math.isfinite(each) for each in costs.predict_more(1, 1, 500, 200))
