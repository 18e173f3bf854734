"""Tokens that a step has time for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.limits import Limits, RowTile
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.step_budget import StepBudget
from llmcore.sequence import HIGH, LOW, Sequence
from tests.scheduling.counting_memory import CountingMemory
from tests.scheduling.machine import LIMITS, learned, seconds


def budget(costs: CostModel | None = None, limits: Limits = LIMITS) -> StepBudget:
    cache = KVCache(CountingMemory(), n_slots=16, n_cells=4096)
    return StepBudget(cache, limits, costs or learned())


def answered(priority: int, n: int = 1) -> list[Sequence]:
    return [Sequence(f"{priority}-{i}", [0] * 9, n_prompt=8, n_tokens_max=20, priority=priority) for i in range(n)]


@pytest.mark.parametrize("tile", [RowTile(), RowTile(8, 8), RowTile(32, 16)])
def test_a_step_may_take_longer_to_fill_a_tile_of_the_kernels_in_use(tile: RowTile) -> None:
    target_s = seconds(tile.n_rows, 0) / 1.8
    limits = replace(LIMITS, tile=tile, inter_token_s=(target_s, target_s, target_s))
    found = budget(limits=limits).spare(answered(HIGH), [], 1, 256)
    assert 1 + found == tile.n_rows


def test_as_long_as_nothing_was_measured_a_step_takes_a_small_chunk() -> None:
    assert budget(CostModel()).spare([], [], 0, 256) == 64
    assert budget(CostModel()).spare([], [], 0, 10) == 10


def test_alone_prompts_get_the_longest_step_and_beside_answers_the_target() -> None:
    alone = budget().spare([], [], 0, 256)
    urgent = budget().spare(answered(HIGH), [], 1, 256)
    patient = budget().spare(answered(LOW), [], 1, 256)
    assert alone > patient > urgent > 0
    assert seconds(alone, 0) == pytest.approx(LIMITS.step_max_s, rel=0.2)


@given(st.integers(0, 40), st.integers(0, 256))
@settings(max_examples=100, deadline=None)
def test_a_prompt_always_goes_on_within_what_is_free(n_answered: int, n_free: int) -> None:
    found = budget().spare(answered(HIGH, n_answered), [], n_answered, n_free)
    assert min(1, n_free) <= found <= n_free


def test_the_seconds_of_a_token_fall_with_the_size_of_the_step() -> None:
    few, many = budget().token_s([], 4), budget().token_s([], 128)
    assert few == pytest.approx(seconds(4, 0) / 4, rel=0.1)
    assert many < few
