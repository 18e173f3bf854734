"""Draws the further tokens of a step: at the places of drafts, as long as the tokens before agree."""

from __future__ import annotations

import numpy as np

from llmcore.engine.joined_outputs import joined
from llmcore.engine.open_requests import OpenRequests
from llmcore.engine.output_processor import OutputProcessor
from llmcore.engine.speculation import Speculation
from llmcore.engine.step_sampling import StepSampling
from llmcore.errors import CellsBrokenError
from llmcore.llama.context import Context
from llmcore.llama.sampler import BAD_LOGITS, NOT_FINITE, SampledToken
from llmcore.messages import Output
from llmcore.scheduling.scheduler import Scheduler
from llmcore.scheduling.verification import Verification


class DraftRounds:
    """Verifies the drafts of a step whose first tokens were committed and processed.

    Each round draws one token for each sequence whose tokens so far agree with its draft, and processes it as any other. So
    samplers, constraints and texts only ever get tokens of the answer, and nothing of theirs goes back.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        context: Context,
        requests: OpenRequests,
        sampling: StepSampling,
        outputs: OutputProcessor,
        speculation: Speculation,
    ) -> None:
        self._scheduler = scheduler
        self._context = context
        self._requests = requests
        self._sampling = sampling
        self._outputs = outputs
        self._speculation = speculation

    def begin(self) -> None:
        """Begins the verification, before the first tokens are processed."""
        self._speculation.begin(self._scheduler.drafted)

    def run(self, first: list[Output]) -> list[Output]:
        """Returns the step's outputs, at most one piece for each request. `first` are those of the first tokens.

        Raises CellsBrokenError if logits are NaN or infinite and may have corrupted other sequences' cells.
        """
        if not self._scheduler.drafted:
            return first
        outputs = list(first)
        try:
            while agreeing := self._scheduler.agreeing():
                for each, sampled in zip(agreeing, self._draw(agreeing), strict=True):
                    if sampled.token == BAD_LOGITS and not self._context.isolates_cells:
                        raise CellsBrokenError(NOT_FINITE)
                    self._scheduler.extend(each, sampled.token)
                    outputs.append(self._outputs.process(each.sequence, sampled))
            if not self._context.isolates_cells:
                self._check_rejected()
        finally:
            self._end()
        return joined(outputs)

    def _draw(self, agreeing: list[Verification]) -> list[SampledToken]:
        """Draws the next token of each sequence."""
        rows = []
        for each in agreeing:
            constraint = self._requests[each.sequence.request_id].constraint
            if constraint is not None:
                constraint.fill()
            assert each.next_index is not None
            rows.append((each.sequence, each.next_index))
        return self._sampling.draw(rows)

    def _check_rejected(self) -> None:
        """Raises CellsBrokenError if logits that nothing was drawn from are not finite: removing cells leaves their numbers."""
        for each in self._scheduler.drafted:
            for index in range(each.index + 1 + each.n_agreed, each.index + 1 + len(each.draft.tokens)):
                if not np.isfinite(self._context.logits(index)).all():
                    raise CellsBrokenError(NOT_FINITE)

    def _end(self) -> None:
        for each in self._scheduler.drafted:
            state = self._requests.get(each.sequence.request_id)
            if state is not None:
                self._speculation.settle(state)
        self._scheduler.cut_drafts()
