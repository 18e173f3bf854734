"""The requests of a worker, from their command to the engine: prepared beside the steps, admitted, cancelled, failed."""

from __future__ import annotations

import logging
from functools import partial

from msgspec import structs

from llmcore.engine.encoder import AnyEngine
from llmcore.engine.prompts import TokenizedPrompt
from llmcore.errors import LlmcoreError, OverloadedError, RequestCancelledError, RequestTimeoutError
from llmcore.messages import Failed, Output
from llmcore.protocol.commands import SubmitCommand
from llmcore.protocol.replies import StepReply
from llmcore.scheduling import refusals
from llmcore.worker.heartbeat import Heartbeat
from llmcore.worker.preparation import Preparation, PreparedRequest, Task
from llmcore.worker.prompt_reading import is_light, prompt_lane

logger = logging.getLogger(__name__)


class RequestHandler:
    """Collects the outputs of requests for the next StepReply. All methods belong to the engine's thread."""

    def __init__(self, engine: AnyEngine, heartbeat: Heartbeat, preparation: Preparation) -> None:
        self._engine = engine
        self._heartbeat = heartbeat
        self._preparation = preparation
        self._outputs: list[Output] = []
        self._has_refused = False  # since the last reply
        self._refusals: refusals.Refusals = ()  # computed only after a request was refused

    def submit(self, command: SubmitCommand) -> None:
        """Admits a request, or starts preparing it if that takes longer than a step."""
        request = command.request
        try:
            # Before the prompt is read, which would cost the requests that are being answered.
            refusals.check(self._refusals, request.priority)
            if not is_light(request.prompt, request.prediction):
                lane = prompt_lane(request.prompt, request.prediction)
                work = partial(self._engine.read, request.prompt, request.prediction)
                self._preparation.start(request.request_id, command, lane, work, request.timeout_s)
            elif self._engine.is_prepared(request.constraint):
                self._admit(command)
            else:
                compiling = partial(self._compile, command, None)
                self._preparation.start(request.request_id, command, "compile", compiling, request.timeout_s)
        except Exception as error:
            self.fail(request.request_id, error)

    def resume(self, task: Task, command: SubmitCommand, prepared: PreparedRequest) -> None:
        """Admits a request whose prompt was read or whose constraint was compiled, or prepares what is left."""
        constraint = command.request.constraint
        try:
            if prepared.error is not None:
                raise prepared.error
            if self._engine.is_prepared(constraint, prepared.result):
                self._admit(command, task, prepared.result)
            else:
                self._preparation.continue_with(task, "compile", partial(self._compile, command, prepared.result))
        except Exception as error:
            self.fail(command.request.request_id, error)

    def cancel(self, request_id: str) -> None:
        if self._preparation.discard(request_id):
            self.fail(request_id, RequestCancelledError("the request was cancelled"))
        finished = self._engine.cancel(request_id)
        if finished is not None:
            self._outputs.append(finished)

    def fail(self, request_id: str, error: Exception) -> None:
        self._has_refused |= isinstance(error, OverloadedError)
        if isinstance(error, LlmcoreError):
            self._outputs.append(Failed(request_id, error.code, error.message, error.param, error.retry_after_s))
            return
        # A bug of ours must not end the other requests.
        logger.error("submit_failed", exc_info=error)
        self._outputs.append(Failed(request_id, LlmcoreError.code, f"internal error: {type(error).__name__}"))

    def fail_expired(self) -> None:
        """Fails the requests whose deadline passed while they were being prepared."""
        for task in self._preparation.take_expired():
            assert isinstance(task.command, SubmitCommand), "calls have no deadline"
            timeout_s = task.command.request.timeout_s
            message = f"the answer was not finished within the request's timeout of {timeout_s} s"
            self.fail(task.command.request.request_id, RequestTimeoutError(message))

    def step(self) -> None:
        """Computes one step, if the engine has work."""
        if self._engine.has_work:
            self._outputs += self._engine.step()

    def take_reply(self) -> StepReply | None:
        """The outputs since the last reply, and which priorities would be refused now; None if there is nothing to send."""
        had_refusals = bool(self._refusals)
        self._refusals = self._engine.refusals() if self._has_refused or had_refusals else ()
        self._has_refused = False
        if not self._outputs and not (had_refusals and not self._refusals):
            return None
        reply = StepReply(tuple(self._outputs), self._refusals)
        self._outputs.clear()
        return reply

    def _admit(self, command: SubmitCommand, task: Task | None = None, prompt: TokenizedPrompt | None = None) -> None:
        request = command.request
        self._heartbeat.set_step_ids((request.request_id,))
        if task is None or prompt is None:
            if task is not None and request.timeout_s is not None:
                request = structs.replace(request, timeout_s=max(self._preparation.left_s(task), 1e-3))
            self._outputs.append(self._engine.submit(request))
        else:
            self._outputs.append(self._engine.submit(request, prompt=prompt, arrived_s=task.arrived_s))

    def _compile(self, command: SubmitCommand, prompt: TokenizedPrompt | None) -> TokenizedPrompt | None:
        """Compiles what an answer needs, in a preparing thread. Returns the prompt, which is the task's result so far."""
        self._engine.prepare(command.request.constraint, prompt)
        return prompt
