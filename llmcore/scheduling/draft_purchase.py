"""Number of draft tokens that a step verifies. Pure policy.

A draft token costs the step time, and gives a token of the answer with the chance that it and those before it are accepted. The
step takes the number of draft tokens that gives the most expected tokens per second. All numbers are tried, not one after the
other until one does not pay: time grows in stairs where kernels compute rows in tiles, so three tokens may pay where one does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llmcore.limits import RowTile
from llmcore.scheduling.cost_model import CostModel

# Drafts must raise the expected tokens per second by this part at least, since predicted times are uncertain.
_GAIN_MIN = 0.02


class StepSize(NamedTuple):
    """A step before drafts are added: its tokens, those of them that want logits, the cells that a token attends to."""

    n_tokens: int
    n_outputs: int
    n_cells: int


class DraftPurchase:
    """Buys draft tokens by the cost model's predictions."""

    def __init__(self, costs: CostModel, tile: RowTile) -> None:
        self._costs = costs
        self._tile = tile

    def n_worth(self, step: StepSize, *, n_free: int, target_s: float = 0.0, n_beside: int = 0) -> int:
        """Number of draft tokens that would be bought if all were certain to be accepted. 0: proposing any is a waste.

        Arguments are those of buy().
        """
        return self.buy([(1.0,) * max(n_free, 0)], step, n_free=n_free, target_s=target_s, n_beside=n_beside)[0]

    def buy(
        self,
        drafts: Sequence[Sequence[float]],
        step: StepSize,
        *,
        n_free: int,
        target_s: float = 0.0,
        n_beside: int = 0,
    ) -> list[int]:
        """Returns how many tokens of each draft the step verifies, from its first on.

        Args:
            drafts: chances of each draft's tokens, each given that those before it are accepted.
            step: everybody's own rows, with forced tokens and without prompts.
            n_free: draft tokens for which batch and cells have room.
            target_s: seconds that the step may take with drafts and without prompts; 0: no limit.
            n_beside: tokens of prompts that the step will compute as well. They make a draft token cost what a token of a
                large step costs.
        """
        bought = [0] * len(drafts)
        if not self._costs.is_known or step.n_outputs < 1:
            return bought
        survivals = []
        for index, chances in enumerate(drafts):
            survival = 1.0
            for place, chance in enumerate(chances):
                survival *= chance
                survivals.append((-survival, place, index))
        survivals.sort()
        alone_s = self._costs.predict(*step)
        best_rate, n_best, expected = step.n_outputs / alone_s * (1 + _GAIN_MIN), 0, float(step.n_outputs)
        for n, (survival, _, _) in enumerate(survivals[: max(n_free, 0)], 1):
            expected -= survival
            seconds = self._costs.predict(step.n_tokens + n, step.n_outputs + n, step.n_cells)
            if target_s and seconds > target_s:
                break
            if expected / seconds > best_rate:
                best_rate, n_best = expected / seconds, n
        for _, _, index in survivals[:n_best]:
            bought[index] += 1
        return bought
