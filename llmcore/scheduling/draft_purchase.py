"""Number of draft tokens that a step verifies. Pure policy.

A draft token costs the step time, and gives a token of the answer with the chance that it and those before it are accepted. The
step takes the number of draft tokens that gives the most expected tokens per second. All numbers are tried, not one after the
other until one does not pay: time grows in stairs where kernels compute rows in tiles, so three tokens may pay where one does not.

Beside prompts a step is as long as its target anyway, and each draft token takes the time of a prompt's token. It pays if that time
is less than what the expected token saves: its share of a step that only decodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from operator import mul
from typing import NamedTuple

from llmcore.limits import RowTile
from llmcore.scheduling.cost_model import CostModel
from llmcore.speculation.draft import LONGEST

# Drafts must raise the expected tokens per second by this part at least, since predicted times are uncertain.
_GAIN_MIN = 0.02

# Seconds that verification takes beside native code, which the cost model does not see.
_VERIFY_S = 1e-4

# Numbers of steps after which one is computed without drafts, to learn again what that costs: if drafts gain less than
# _GAIN_SURE, and otherwise.
_CHECK_CLOSE, _CHECK_SURE, _GAIN_SURE = 32, 500, 0.3

# Part of a step's time that drafts may add if it takes longer than its target without them.
_SHARE_MIN = 1 / 4


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
        """Number of draft tokens that would pay if all were certain to be accepted. 0: proposing any is a waste.

        Arguments are those of buy().
        """
        n_best, _ = self._best([1.0] * max(n_free, 0), step, target_s, n_beside)
        return n_best

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
            target_s: seconds that the step may take with drafts and without prompts, for each token that it is expected to
                give an answer, up to LONGEST; 0: no limit. A step that takes longer without drafts may take a little longer
                still, for they shorten the mean time between tokens.
            n_beside: tokens of prompts that the step will compute as well.
        """
        offered = _by_survival(drafts)[: max(n_free, 0)]
        n_best, gain = self._best([survival for survival, _ in offered], step, target_s, n_beside)
        if self._must_check(step, gain):
            n_best = 0
        bought = [0] * len(drafts)
        for _, index in offered[:n_best]:
            bought[index] += 1
        return bought

    def _best(self, survivals: list[float], step: StepSize, target_s: float, n_beside: int) -> tuple[int, float]:
        """Returns the number of draft tokens that pay best, of which each has a chance that it and all before it are accepted,
        and the part by which they raise the expected tokens per second; that is infinite beside prompts."""
        if not survivals or not self._costs.is_known or step.n_outputs < 1:
            return 0, 0.0
        seconds = self._seconds(step, len(survivals))
        n_most = _n_within(target_s, survivals, step.n_outputs, seconds) if target_s else len(survivals)
        if n_beside:
            return self._n_beside(survivals[:n_most], step, seconds[0], n_beside), float("inf")
        return _n_fastest(survivals[:n_most], step.n_outputs, seconds)

    def _must_check(self, step: StepSize, gain: float) -> bool:
        """True if the time of such a step without drafts was not measured for so long that their gain is doubtful."""
        n_since = self._costs.n_since(step.n_tokens)
        return gain < float("inf") and n_since > (_CHECK_SURE if gain > _GAIN_SURE else _CHECK_CLOSE)

    def _seconds(self, step: StepSize, n: int) -> list[float]:
        """Returns the seconds of a step with 0, 1, … n draft tokens, which never fall. A padded tile costs what a full one does."""
        tile = self._tile
        n_padding = -(step.n_tokens + n) % tile.n_rows_small if tile.is_padded else 0
        seconds = list(accumulate(self._costs.predict_more(*step, n + n_padding), max))
        if tile.is_padded:
            seconds[1 : n + 1] = [seconds[at + -(step.n_tokens + at) % tile.n_rows_small] for at in range(1, n + 1)]
        return [seconds[0], *(each + _VERIFY_S for each in seconds[1 : n + 1])]

    def _n_beside(self, survivals: list[float], step: StepSize, alone_s: float, n_beside: int) -> int:
        """Number of draft tokens that pay in a step with n_beside tokens of prompts."""
        n = step.n_tokens + n_beside
        token_s = self._costs.predict(n, step.n_outputs, step.n_cells) - alone_s
        token_s = max(token_s / n_beside, 0.0) * (1 + _GAIN_MIN)
        saved_s = alone_s / step.n_outputs
        return sum(survival * saved_s > token_s for survival in survivals)


def _by_survival(drafts: Sequence[Sequence[float]]) -> list[tuple[float, int]]:
    """Returns (chance that a token and all before it are accepted, index of its draft), the likeliest first. Tokens of one draft
    are in their order."""
    if len(drafts) == 1:
        return [(survival, 0) for survival in accumulate(drafts[0], mul)]
    offered: list[tuple[float, int, int]] = []
    for index, chances in enumerate(drafts):
        survival = 1.0
        for at, chance in enumerate(chances):
            survival *= chance
            offered.append((-survival, at, index))
    offered.sort()
    return [(-survival, index) for survival, _, index in offered]


def _n_within(target_s: float, survivals: list[float], n_outputs: int, seconds: list[float]) -> int:
    """Returns the most draft tokens with which the mean time between tokens, or most of it, stays within its target."""
    limit_s = max(target_s, seconds[0] * (1 + _SHARE_MIN))
    n_expected, n_most = float(n_outputs), 0
    for n, survival in enumerate(survivals, 1):
        n_expected += survival
        if seconds[n] <= limit_s * min(n_expected / n_outputs, LONGEST):
            n_most = n
    return n_most


def _n_fastest(survivals: list[float], n_outputs: int, seconds: list[float]) -> tuple[int, float]:
    """Returns the number of draft tokens with the most expected tokens per second, and the part by which they raise them."""
    alone_rate = n_outputs / seconds[0]
    best_rate, n_best = alone_rate * (1 + _GAIN_MIN), 0
    n_expected, n_possible = float(n_outputs), n_outputs + sum(survivals)
    for n, survival in enumerate(survivals, 1):
        n_expected += survival
        if n_expected > best_rate * seconds[n]:
            best_rate, n_best = n_expected / seconds[n], n
        elif n_possible <= best_rate * seconds[n]:
            break  # not even all of them would make up for the time
    return n_best, best_rate / alone_rate - 1
