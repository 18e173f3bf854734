"""The step that is being computed: the requests it serves, how long it takes, and how it is taken back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from llmcore.batch import Batch
from llmcore.engine.open_requests import OpenRequests
from llmcore.engine.stats import EngineStatistics
from llmcore.errors import CellsBrokenError, EngineError, LlmcoreError
from llmcore.llama.context import Context, StepAborted
from llmcore.llama.sampler import BAD_LOGITS, NOT_FINITE, SampledToken
from llmcore.log import event
from llmcore.scheduling.scheduler import Scheduler
from llmcore.sequence import Sequence

logger = logging.getLogger(__name__)


class StepFailure(NamedTuple):
    """A step that cannot be computed, and would fail again: its sequences, and the reason."""

    sequences: list[Sequence]
    error: LlmcoreError


class RunningStep:
    """Context manager around one step of an engine, used for one step after another.

    Between begin() and end(), native code computes. If that is aborted or fails, the step is rolled back, and the error ends with
    the `with` block: after a failure, `failure` says which sequences must end. Errors before begin() and behind end() pass.
    If the engine was closed meanwhile, ClosedError takes the place of every error.

    Only interrupt() may be called from other threads.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        context: Context,
        requests: OpenRequests,
        statistics: EngineStatistics,
        *,
        clock: Callable[[], float],
        check_open: Callable[[], None],
    ) -> None:
        """`check_open` raises ClosedError if the engine is closed."""
        self._scheduler = scheduler
        self._context = context
        self._requests = requests
        self._statistics = statistics
        self._clock = clock
        self._check_open = check_open
        self._serving: frozenset[str] = frozenset()
        self._is_computing = False
        self._is_computed = False
        self._native_started_s = 0.0
        self._n_cells = 0  # that a token of the step attends to, on average
        self.started_s = 0.0
        self.failure: StepFailure | None = None
        # Called before a step is computed, with the request ids in it and the seconds that it should take.
        self.on_step: Callable[[tuple[str, ...], float], None] | None = None

    def __enter__(self) -> RunningStep:
        if self._is_computing:
            raise EngineError("a step is being computed: a logits_processor cannot use the engine that calls it")
        self.started_s = self._clock()
        self.failure = None
        self._is_computed = False
        return self

    def begin(self, batch: Batch) -> None:
        """Records what a step serves, immediately before it is computed."""
        scheduler = self._scheduler
        in_step = scheduler.in_step
        for sequence in in_step:
            request = self._requests.get(sequence.request_id)
            if request is not None and request.start():
                self._statistics.count_start(sequence)
        self._context.abort_flag.set(False)
        self._serving = scheduler.served
        self._n_cells = scheduler.n_cells_attended
        if self.on_step is not None:
            seconds = scheduler.costs.predict(batch.n_tokens, scheduler.n_outputs, self._n_cells)
            self.on_step(tuple(each.request_id for each in in_step), seconds)
        self._native_started_s = self._clock()
        self._is_computing = True

    def end(self, batch: Batch, sampled: list[SampledToken]) -> None:
        """Records that a step was computed, before it is committed. The cost model learns from its time.

        Raises CellsBrokenError if logits are NaN or infinite and may have corrupted other sequences' cells.
        """
        native_s = self._clock() - self._native_started_s
        self._is_computing, self._serving = False, frozenset()
        if not self._context.isolates_cells and any(each.token == BAD_LOGITS for each in sampled):
            raise CellsBrokenError(NOT_FINITE)
        scheduler = self._scheduler
        self._statistics.count_step(batch, scheduler.in_step, len(sampled), native_s)
        scheduler.costs.observe(batch.n_tokens, scheduler.n_outputs, self._n_cells, max(native_s, 1e-6))
        self._is_computed = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        is_computing, self._is_computing, self._serving = self._is_computing, False, frozenset()
        if error is None:
            if self._is_computed:
                self._statistics.counters.step_s += self._clock() - self.started_s
            return False
        if isinstance(error, Exception) and not isinstance(error, StepAborted):
            self._check_open()
        if not is_computing:
            return False
        if isinstance(error, LlmcoreError):
            event(logger, logging.ERROR, "step_failed", code=error.code, message=error.message)
            self.failure = StepFailure(list(self._scheduler.in_step), error)
        self._scheduler.rollback()  # also after Ctrl-C: the engine can be used further
        return isinstance(error, (StepAborted, LlmcoreError))

    def interrupt(self, request_ids: frozenset[str] | set[str]) -> None:
        """Aborts the step if it serves only these requests. For other threads."""
        serving = self._serving
        if serving and serving <= request_ids:
            self._context.abort_flag.set(True)
