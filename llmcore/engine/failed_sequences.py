"""Ends sequences that cannot continue: requests by an output, prefixes by a log line."""

from __future__ import annotations

from llmcore.engine.open_requests import OpenRequests
from llmcore.engine.pinned_prefixes import PinnedPrefixes
from llmcore.engine.running_step import StepFailure
from llmcore.errors import ContextLengthError, EngineError
from llmcore.messages import Output
from llmcore.scheduling.scheduler import Scheduler


class FailedSequences:
    """Ends sequences without cells, and those of a failed step. All others continue."""

    def __init__(self, scheduler: Scheduler, requests: OpenRequests, pinned: PinnedPrefixes) -> None:
        self._scheduler = scheduler
        self._requests = requests
        self._pinned = pinned

    def end_out_of_cells(self) -> list[Output]:
        """Ends sequences that find no cells, not even alone, since prefixes were pinned after they were accepted."""
        outputs: list[Output] = []
        for sequence in list(self._scheduler.out_of_cells):
            message = "pinned prefixes leave too few cells for this prompt"
            request = self._requests.get(sequence.request_id)
            if request is None:
                self._pinned.fail(sequence, message)
            elif sequence.n_generated:
                outputs.append(self._requests.finish(request, "length", request.text.finish()))
            else:
                # The error that submitting it would have raised after the prefixes were pinned.
                n_ctx = self._scheduler.limits.n_ctx
                error = ContextLengthError(message, n_prompt=sequence.n_prompt, n_ctx=n_ctx)
                outputs.append(self._requests.fail(request, error))
        return outputs

    def end(self, failure: StepFailure) -> list[Output]:
        """Ends the sequences of a step that cannot be computed."""
        outputs: list[Output] = []
        for sequence in failure.sequences:
            request = self._requests.get(sequence.request_id)
            if request is None:
                self._pinned.fail(sequence, failure.error.message)
            else:
                outputs.append(self._requests.fail(request, EngineError(failure.error.message)))
        return outputs
