"""How many tokens of prompts a step has time for. Pure.

While a sequence is being answered, the time is the inter-token target of the most demanding one; otherwise a step may be as long as
a newcomer can wait. Steps fill whole tiles of the matrix kernels.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmcore.limits import Limits
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.kv_cache import KVCache
from llmcore.sequence import Sequence

# Where the sequences that are answered already take longer than their target, prompts still get this part of it: otherwise none
# would ever be computed.
_SHARE_MIN = 1 / 8

# llama.cpp's repacked matrix kernels compute so many tokens at a time, then by the smaller number, then one by one: 14 of a
# step take longer than 16.
TILE, TILE_SMALL = 16, 4

# A step may take so many times its target where that fills a tile, or most of it: on a slow machine the target leaves prompts
# so few tokens that each would cost half as much again.
_SLACK = 1.9

# Tokens of a chunk as long as nothing was measured.
_CHUNK_UNKNOWN = 64


class StepBudget:
    """Tokens that fit into the time of a step, as the cost model predicts it."""

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
        answered = list(answered)
        target_s, n_outputs = self._target_s(answered, n_tokens), len(answered)
        n_cells = self._n_cells(list(prompts) or answered)
        n = self._costs.tokens_within(target_s, n_tokens, n_outputs, n_cells, n_free)
        for total in range(TILE, n_tokens + n, -TILE_SMALL):
            more = total - n_tokens
            if more <= n_free and self._costs.predict(total, n_outputs, n_cells + more) <= _SLACK * target_s:
                return more
        return max(n, min(1, n_free))

    def _target_s(self, answered: list[Sequence], n_tokens: int) -> float:
        targets_s = [self._limits.inter_token_s[each.priority] for each in answered]
        if not targets_s:
            return self._limits.step_max_s
        decode_s = self._costs.predict(n_tokens, len(targets_s), self._n_cells(answered))
        return max(min(targets_s), decode_s + min(targets_s) * _SHARE_MIN)

    def token_s(self, prompts: Iterable[Sequence], n_tokens: int) -> float:
        """Seconds that each token of prompts takes in a step of n_tokens."""
        n_tokens = max(n_tokens, 1)
        return self._costs.predict(n_tokens, 0, self._n_cells(prompts)) / n_tokens

    def _n_cells(self, sequences: Iterable[Sequence]) -> int:
        return self._cache.n_cells_attended((1, each.n_computed) for each in sequences)


def whole_tiles(n_before: int, budget: int) -> int:
    """The budget, or less of it, so that a step of n_before tokens and it fills tiles."""
    tile = TILE if n_before + budget >= TILE else TILE_SMALL
    whole = (n_before + budget) // tile * tile - n_before
    return whole if whole > 0 else budget
