"""Times of a step with drafts are those of the cost model."""

from __future__ import annotations

from llmcore.scheduling.cost_model import CostModel, Measurement
from llmcore.scheduling.draft_purchase import StepSize
from llmcore.scheduling.step_times import PredictedStepTimes


def test_drafts_are_tokens_and_outputs_beside_the_prompts() -> None:
    costs = CostModel([Measurement(1, 1, 0, 0.1), Measurement(8, 8, 0, 0.12), Measurement(64, 1, 0, 0.4)])
    times = PredictedStepTimes(costs, lambda: StepSize(2, 2, 100), 0.15, 16)
    assert (times.n_answers, times.target_s) == (2, 0.15)
    assert times.seconds(0) == costs.predict(18, 2, 100)
    assert times.seconds(5) == costs.predict(23, 7, 100)
