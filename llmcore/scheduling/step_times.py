"""Predicted times of a step by the number of drafts in it, for drafters that take time themselves. Pure policy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.draft_purchase import StepSize


class PredictedStepTimes:
    """Implements StepTimes (speculation/draft.py). Nothing is computed unless it is asked for: few drafters do.

    Args:
        size: returns everybody's own rows, without drafts and prompts.
        target_s: seconds that drafting and the step may take together for each token that they give an answer; 0: no limit.
        n_beside: tokens of prompts that the step will compute as well.
    """

    def __init__(self, costs: CostModel, size: Callable[[], StepSize], target_s: float, n_beside: int) -> None:
        self._costs = costs
        self._size = size
        self._n_beside = n_beside
        self.target_s = target_s

    @cached_property
    def _step(self) -> StepSize:
        return self._size()

    @property
    def n_answers(self) -> int:
        """Number of tokens that the step gives without drafts."""
        return self._step.n_outputs

    def seconds(self, n_drafted: int) -> float:
        """Seconds of the step with so many draft tokens of all sequences."""
        step = self._step
        return self._costs.predict(step.n_tokens + self._n_beside + n_drafted, step.n_outputs + n_drafted, step.n_cells)
