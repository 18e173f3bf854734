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

# Steps for which the number of tokens that could pay counts as known.
_STEPS_KNOWN = 32

# Choosing drafts takes about _CHOOSE_S. After _VAIN_MIN steps without any, it may take _CHOOSE_SHARE of the steps' time: some steps
# are left out then, but at most _SKIPPED_MAX in a row.
_CHOOSE_S, _CHOOSE_SHARE = 1.2e-4, 0.01
_VAIN_MIN, _SKIPPED_MAX = 8, 3


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
        self._worth: dict[tuple[int, int, bool], int] = {}  # most tokens of a draft that pay, by the step's size
        self._n_chosen = 0
        self._n_vain = 0  # steps since a draft was bought
        self._n_skipped = 0  # of these, since the last one for which drafts were proposed

    def choose(self, planned: Mapping[Sequence, int], n_rows_free: int, n_beside: int) -> dict[Sequence, Draft]:
        """Returns the drafts that the step verifies, by sequence, and makes cells free for them.

        Args:
            planned: number of tokens of each sequence that is being decoded.
            n_rows_free: room for these, drafts and prompts in the batch.
            n_beside: tokens of prompts that the step will compute as well.
        """
        wanting = [each for each, n in planned.items() if each.is_speculative and n == each.n_remaining]
        if not wanting or self._skips(planned):
            return {}
        self._n_vain += 1
        n_max = self._n_max(planned, n_beside)
        proposed = self._propose(wanting, n_max, self._times(planned, n_beside))
        if not proposed:
            return {}
        n_tokens = sum(planned.values())
        n_most = min(N_DRAFTS_MAX, self._limits.n_logits or N_DRAFTS_MAX)
        n_free = min(n_rows_free - n_tokens, n_most, self._cache.n_cells - self._cache.n_cells_held - n_tokens)
        if n_free < 1:
            return {}
        chances = [draft.chances for draft in proposed.values()]
        target_s = self._target_s(planned)
        bought = self._purchase.buy(chances, self._size(planned), n_free=n_free, target_s=target_s, n_beside=n_beside)
        if not self._cache.reserve(n_tokens + sum(bought)):
            return {}
        if any(bought):
            self._n_vain = 0
        return {each: draft.cut(n) for (each, draft), n in zip(proposed.items(), bought, strict=True) if n}

    def _skips(self, planned: Mapping[Sequence, int]) -> bool:
        """True if this step is left without drafts, because proposing took too much of the last steps' time in vain."""
        if self._n_vain >= _VAIN_MIN:
            step_s = max(self._costs.predict(*self._size(planned)), 1e-6)  # 0 if nothing is known
            if self._n_skipped < min(int(_CHOOSE_S / (_CHOOSE_SHARE * step_s)), _SKIPPED_MAX):
                self._n_skipped += 1
                return True
        self._n_skipped = 0
        return False

    def _n_max(self, planned: Mapping[Sequence, int], n_beside: int) -> int:
        """The most tokens of a draft that pay in such a step, if all are accepted. Costs change slowly: it is computed now and
        then."""
        n_tokens = sum(planned.values())
        key = len(planned), n_tokens, n_beside > 0
        self._n_chosen += 1
        if self._n_chosen % _STEPS_KNOWN == 0:
            self._worth.clear()
        n = self._worth.get(key)
        if n is None:
            target_s = self._target_s(planned)
            n = self._worth[key] = self._purchase.n_worth(
                self._size(planned), n_free=N_DRAFT_MAX, target_s=target_s, n_beside=n_beside
            )
        return n

    def _size(self, planned: Mapping[Sequence, int]) -> StepSize:
        n_cells = self._cache.n_cells_attended((n, each.n_computed + n) for each, n in planned.items())
        n_outputs = sum(n == each.n_remaining for each, n in planned.items())
        return StepSize(sum(planned.values()), n_outputs, n_cells)

    def _target_s(self, planned: Mapping[Sequence, int]) -> float:
        return min(self._limits.inter_token_s[each.priority] for each in planned)

    def _times(self, planned: Mapping[Sequence, int], n_beside: int) -> StepTimes:
        return PredictedStepTimes(self._costs, lambda: self._size(planned), self._target_s(planned), n_beside)

    def _propose(self, wanting: list[Sequence], n_max: int, times: StepTimes) -> dict[Sequence, Draft]:
        room = {each: min(n_max, each.n_tokens_max - len(each.tokens) - 1) for each in wanting}
        room = {each: n for each, n in room.items() if n > 0}
        return {each: draft.cut(room[each]) for each, draft in self._source.propose_all(room, times).items()}
