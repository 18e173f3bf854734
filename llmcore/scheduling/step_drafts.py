"""Drafts of one step: those that are proposed for the sequences being decoded, cut to what pays. Pure policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from llmcore.limits import Limits
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.draft_purchase import DraftPurchase, StepSize
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.step_times import PredictedStepTimes
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft, StepTimes

# The most draft tokens of one sequence, and of all, in a step.
N_DRAFT_MAX, N_DRAFTS_MAX = 16, 64


class DraftSource(Protocol):
    """Proposes drafts for sequences; speculation/drafters.py is one."""

    def propose_all(self, wanted: Mapping[Sequence, int], times: StepTimes | None = None) -> dict[Sequence, Draft]:
        """Returns drafts for some of the sequences; `wanted` has the most tokens of each, at least 1. `times` are those of the
        step that verifies the drafts."""
        ...


class StepDrafts:
    """Chooses the drafts of each step."""

    def __init__(self, source: DraftSource, cache: KVCache, limits: Limits, costs: CostModel) -> None:
        self._source = source
        self._costs = costs
        self._cache = cache
        self._limits = limits
        self._purchase = DraftPurchase(costs, limits.tile)

    def choose(self, planned: Mapping[Sequence, int], n_rows_free: int, n_beside: int) -> dict[Sequence, Draft]:
        """Returns the drafts that the step verifies, by sequence, and makes cells free for them.

        Args:
            planned: number of tokens of each sequence that is being decoded.
            n_rows_free: room for these, drafts and prompts in the batch.
            n_beside: tokens of prompts that the step will compute as well.
        """
        wanting = [each for each, n in planned.items() if each.is_speculative and n == each.n_remaining]
        if not wanting:
            return {}
        n_tokens = sum(planned.values())
        n_free = min(n_rows_free - n_tokens, N_DRAFTS_MAX, self._cache.n_cells - self._cache.n_cells_held - n_tokens)
        if n_free < 1:
            return {}
        n_cells = self._cache.n_cells_attended((n, each.n_computed + n) for each, n in planned.items())
        n_outputs = sum(n == each.n_remaining for each, n in planned.items())
        step = StepSize(n_tokens, n_outputs, n_cells)
        target_s = min(self._limits.inter_token_s[each.priority] for each in planned)
        n_max = min(
            self._purchase.n_worth(step, n_free=min(n_free, N_DRAFT_MAX), target_s=target_s, n_beside=n_beside),
            N_DRAFT_MAX,
        )
        if not n_max:
            return {}
        times = PredictedStepTimes(self._costs, step, target_s, n_beside)
        proposed = self._propose(wanting, n_max, times)
        if not proposed:
            return {}
        chances = [draft.chances for draft in proposed.values()]
        bought = self._purchase.buy(chances, step, n_free=n_free, target_s=target_s, n_beside=n_beside)
        if any(bought):
            self._cache.reserve(n_tokens + sum(bought))
        return {each: draft.cut(n) for (each, draft), n in zip(proposed.items(), bought, strict=True) if n}

    def _propose(self, wanting: list[Sequence], n_max: int, times: StepTimes) -> dict[Sequence, Draft]:
        room = {each: min(n_max, each.n_tokens_max - len(each.tokens) - 1) for each in wanting}
        room = {each: n for each, n in room.items() if n > 0}
        return {each: draft.cut(room[each]) for each, draft in self._source.propose_all(room, times).items()}
