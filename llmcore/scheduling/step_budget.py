"""Number of prompt tokens that a step has time for. Pure policy.

While an answer is being decoded, the time is the inter-token target of the most demanding one. Otherwise a step may be as long as
a newcomer can wait. Steps fill whole tiles of the matrix kernels.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmcore.limits import Limits
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.kv_cache import KVCache
from llmcore.sequence import Sequence

# Part of the target that prompts get if the decode rows alone take longer than the target. With nothing they would never end.
_SHARE_MIN = 1 / 8

# A step may take so many times its target if that fills a tile, or most of it. On a slow machine the target leaves prompts so few
# tokens that each of them would cost half as much again.
_SLACK = 1.9

# Tokens of a chunk while nothing has been measured.
_CHUNK_UNKNOWN = 64


class StepBudget:
    """Number of tokens that fit into the time of a step, as the cost model predicts it."""

    def __init__(self, cache: KVCache, limits: Limits, costs: CostModel) -> None:
        self._cache = cache
        self._limits = limits
        self._costs = costs

    def spare(self, answered: Iterable[Sequence], prompts: Iterable[Sequence], n_tokens: int, n_free: int) -> int:
        """Number of further tokens, at most n_free, that a step has time for beside its n_tokens.

        Args:
            answered: sequences that get a token in this step.
            prompts: sequences whose prompts are being computed; the further tokens are theirs.
        """
        if not self._costs.is_known:
            return min(n_free, _CHUNK_UNKNOWN)
        answered, tile = list(answered), self._limits.tile
        target_s, n_outputs = self._target_s(answered, n_tokens), len(answered)
        n_cells = self._n_cells(list(prompts) or answered)
        n = self._costs.tokens_within(target_s, n_tokens, n_outputs, n_cells, n_free)
        for total in range(tile.n_rows, n_tokens + n, -tile.n_rows_small):
            more = total - n_tokens
            if more <= n_free and self._costs.predict(total, n_outputs, n_cells + more) <= _SLACK * target_s:
                return more
        return max(n, min(1, n_free))

    def token_s(self, prompts: Iterable[Sequence], n_tokens: int) -> float:
        """Seconds that each token of prompts takes in a step of n_tokens."""
        n_tokens = max(n_tokens, 1)
        return self._costs.predict(n_tokens, 0, self._n_cells(prompts)) / n_tokens

    def _target_s(self, answered: list[Sequence], n_tokens: int) -> float:
        targets_s = [self._limits.inter_token_s[each.priority] for each in answered]
        if not targets_s:
            return self._limits.step_max_s
        decode_s = self._costs.predict(n_tokens, len(targets_s), self._n_cells(answered))
        return max(min(targets_s), decode_s + min(targets_s) * _SHARE_MIN)

    def _n_cells(self, sequences: Iterable[Sequence]) -> int:
        return self._cache.n_cells_attended((1, each.n_computed) for each in sequences)
