"""Predicted times of a step by the number of drafts in it, for drafters that take time themselves. Pure policy."""

from __future__ import annotations

from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.draft_purchase import StepSize


class PredictedStepTimes:
    """Implements StepTimes (speculation/draft.py).

    Args:
        step: everybody's own rows, without drafts and prompts.
        target_s: seconds that drafting and the step may take together for each token that they give an answer; 0: no limit.
        n_beside: tokens of prompts that the step will compute as well.
    """

    def __init__(self, costs: CostModel, step: StepSize, target_s: float, n_beside: int) -> None:
        self._costs = costs
        self._step = step
        self._n_beside = n_beside
        self.n_answers = step.n_outputs
        self.target_s = target_s

    def seconds(self, n_drafted: int) -> float:
        """Seconds of the step with so many draft tokens of all sequences."""
        step = self._step
        return self._costs.predict(step.n_tokens + self._n_beside + n_drafted, step.n_outputs + n_drafted, step.n_cells)
