"""The loop of the worker's engine thread: commands in, steps, replies out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable

from llmcore.engine.encoder import AnyEngine
from llmcore.errors import InvalidRequestError
from llmcore.log import event
from llmcore.protocol.commands import (
    AbandonCommand,
    CancelCommand,
    Command,
    ConfigureCommand,
    ShutdownCommand,
    SubmitCommand,
)
from llmcore.protocol.framing import Channel
from llmcore.protocol.outbox import Outbox
from llmcore.protocol.replies import Reply
from llmcore.protocol.unreadable import Unreadable
from llmcore.worker.call_handler import CallHandler
from llmcore.worker.command_queue import CommandQueue, Received
from llmcore.worker.heartbeat import Heartbeat
from llmcore.worker.preparation import PREPARING_MAX_S, Preparation, PreparedRequest
from llmcore.worker.request_handler import RequestHandler

logger = logging.getLogger(__name__)

# Seconds between the heartbeats of an idle worker, or a fraction of worker_silent_s if that is shorter.
_BEAT_S = 1.0
_BEATS = 4
# A step may take this many times its predicted duration: a slow step is not a hung worker.
_PATIENCE = 30.0
# Seconds that native code in the preparing threads has to finish when the loop ends.
_END_S = 1.0


class WorkerLoop:
    """Serves one engine over one channel."""

    def __init__(
        self,
        engine: AnyEngine,
        channel: Channel[Command | Unreadable],
        heartbeat: Heartbeat,
        *,
        silent_s: float = 0.0,
        preparing_max_s: float = PREPARING_MAX_S,
    ) -> None:
        """`silent_s` is EngineConfig.worker_silent_s. `preparing_max_s` bounds compiling one constraint, and reading one prompt."""
        self._engine = engine
        self._channel = channel
        self._outbox = Outbox(channel)
        self._heartbeat = heartbeat
        self._idle_s = min(_BEAT_S, silent_s / _BEATS or _BEAT_S)
        self._preparing_max_s = preparing_max_s
        self._commands = CommandQueue()
        self._preparation = Preparation(self._commands.put_prepared, heartbeat.set_preparing_ids, max_s=preparing_max_s)
        self._requests = RequestHandler(engine, heartbeat, self._preparation)
        self._calls = CallHandler(engine, heartbeat, self._preparation, self._send)
        self._is_stopping = False
        engine.observe_steps(self._on_step)
        engine.embeddings.on_pass = self._on_pass

    def run(self) -> bool:
        """Runs until a ShutdownCommand comes or the client is gone. Returns False if native code still runs: the engine must
        not be closed then. Raises TimeoutError if preparing a request hangs: the next process goes on without that request."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()
        while not (self._is_stopping or self._outbox.is_gone):
            for command in self._wait():
                self._heartbeat.beat()
                self._handle(command)
            self._check_preparation()
            self._requests.fail_expired()
            self._requests.step()
            reply = self._requests.take_reply()
            if reply is not None:
                self._send(reply)
            self._calls.step_embeddings()
            self._calls.answer_pinned()
        return self._preparation.close(wait_s=_END_S)

    def _wait(self) -> list[Received]:
        """Commands to handle. If the engine has no work, waits for some until the next heartbeat or deadline is due."""
        self._heartbeat.beat()
        if self._engine.has_work or self._engine.embeddings.has_work:
            return self._commands.take(wait_s=0)
        self._heartbeat.set_step_ids(())
        return self._commands.take(wait_s=min(self._idle_s, self._preparation.left_s() + 1e-3))

    def _handle(self, command: Received) -> None:
        if isinstance(command, SubmitCommand):
            self._requests.submit(command)
        elif isinstance(command, PreparedRequest):
            self._resume(command)
        elif isinstance(command, Unreadable):
            self._refuse(command)
        elif isinstance(command, CancelCommand):
            self._requests.cancel(command.request_id)
        elif isinstance(command, AbandonCommand):
            self._calls.abandon(command.call_id)
        elif isinstance(command, ShutdownCommand):
            self._is_stopping = True
        elif not isinstance(command, ConfigureCommand):
            self._calls.answer(command)

    def _resume(self, prepared: PreparedRequest) -> None:
        task = prepared.task
        if not self._preparation.claim(task):
            return  # it was cancelled meanwhile
        if isinstance(task.command, SubmitCommand):
            self._requests.resume(task, task.command, prepared)
        else:
            self._calls.answer(task.command, prepared)

    def _refuse(self, frame: Unreadable) -> None:
        """Fails the request or call that sent a frame which cannot be decoded."""
        event(logger, logging.ERROR, "command_unreadable", id=frame.id, problem=frame.problem)
        error = InvalidRequestError(f"the request cannot be read: {frame.problem}")
        if isinstance(frame.id, str):
            self._requests.fail(frame.id, error)
        elif frame.id is not None:
            self._calls.fail(frame.id, error)

    def _check_preparation(self) -> None:
        if self._preparation.overdue() is not None:
            raise TimeoutError(f"a constraint has been compiled, or a prompt read, for {self._preparing_max_s:g} s")

    def _send(self, message: Reply) -> None:
        for request_id in self._outbox.send(message):
            self._engine.cancel(request_id)

    def _on_step(self, request_ids: tuple[str, ...], seconds: float) -> None:
        """Called by the engine before a step, with the predicted duration."""
        self._heartbeat.set_step_ids(request_ids)
        self._heartbeat.beat(_PATIENCE * seconds)

    def _on_pass(self, call_ids: frozenset[Hashable], seconds: float) -> None:
        """Called before a pass over embeddings, with the predicted duration."""
        self._heartbeat.set_step_ids([id for id in call_ids if isinstance(id, int)])
        self._heartbeat.beat(_PATIENCE * seconds)

    def _read(self) -> None:
        """Reads commands, in a thread of its own, so that a cancel can interrupt the step that is being computed."""
        try:
            for command in self._channel:
                self._commands.put(command, self._engine)
        except Exception:  # bytes that are no frame: nothing after them can be trusted
            logger.exception("commands_garbled")
        finally:
            self._commands.put(ShutdownCommand(), self._engine)
