"""The engine's process: commands in from a socket, events out, one thread that owns the engine.

Started by child.py as `python -m llmcore.worker FD PULSE`, where FD is one end of a socket pair and PULSE the memory that
tells that it is alive, and for whom it works. The first frame is the EngineConfig. A second thread does nothing but read
commands, so that a cancel can interrupt the step that is being computed. The process ends when the other side is gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Hashable
from functools import partial
from typing import Any

from msgspec import structs

from llmcore import log
from llmcore.config import EngineConfig, attach_paths
from llmcore.engine.encoder import AnyEngine, open_engine
from llmcore.engine.prompts import TokenizedPrompt
from llmcore.errors import (
    InsufficientMemoryError,
    InvalidRequestError,
    LlmcoreError,
    ModelError,
    OverloadedError,
    PrefixMissingError,
    RequestCancelledError,
    RequestTimeoutError,
    printable,
)
from llmcore.log import event
from llmcore.machine.child_process import forbid_core_files
from llmcore.messages import Failed, Output, PrefixInfo
from llmcore.protocol.commands import (
    AbandonCommand,
    CallCommand,
    CancelCommand,
    Command,
    ConfigureCommand,
    DetokenizeCommand,
    EmbedCommand,
    GetPrefixesCommand,
    GetStatsCommand,
    InspectCommand,
    PinCommand,
    RenderCommand,
    RerankCommand,
    ShutdownCommand,
    SubmitCommand,
    TokenizeCommand,
)
from llmcore.protocol.framing import Channel
from llmcore.protocol.outbox import Outbox
from llmcore.protocol.replies import (
    CallFailedReply,
    CallReply,
    InspectionReply,
    LoadFailedReply,
    LoadingReply,
    PrefixesReply,
    ReadyReply,
    Reply,
    StatsReply,
    StepReply,
    TextReply,
    TokensReply,
    VectorsReply,
)
from llmcore.protocol.unreadable import Unreadable, unreadable
from llmcore.scheduling import refusals
from llmcore.worker.command_queue import CommandQueue, Received
from llmcore.worker.heartbeat import LOADING_S, Heartbeat
from llmcore.worker.preparation import PREPARING_MAX_S, Preparation, PreparedRequest, Task
from llmcore.worker.prompt_reading import Reading, is_light, prompt_lane, reading

logger = logging.getLogger(__name__)

# Loading is told in steps of this much, not for every tensor.
_PROGRESS_STEP = 0.02


# An idle engine's thread beats so often, or more where that would be too seldom for worker_silent_s.
_BEAT_S = 1.0
_BEATS = 4
# A step may take so many times what it is predicted to take: a slow step is not a dead one.
_PATIENCE = 30.0
# At the end, native code that prepares requests gets so long to finish.
_END_S = 1.0


class ClientGone(Exception):
    """The other side went while a model was loaded for it."""


class Worker:
    """Serves one engine over one channel."""

    def __init__(
        self,
        engine: AnyEngine,
        channel: Channel[Command | Unreadable],
        pulse: Heartbeat,
        *,
        silent_s: float = 0.0,
        compiling_max_s: float = PREPARING_MAX_S,
    ) -> None:
        """`silent_s` is as EngineConfig.worker_silent_s; `compiling_max_s` bounds compiling a constraint, and reading a prompt."""
        self._compiling_max_s = compiling_max_s
        self._engine = engine
        self._channel = channel
        self._outbox = Outbox(channel)
        self._pulse = pulse
        self._idle_s = min(_BEAT_S, silent_s / _BEATS or _BEAT_S)
        engine.on_step = self._on_step
        engine.embeddings.on_pass = self._on_pass
        self._inbox = CommandQueue()
        self._outputs: list[Output] = []
        self._has_refused = False  # since the last word on who is refused
        self._refusals: refusals.Refusals = ()  # reckoned only once somebody was refused
        self._preparation = Preparation(self._inbox.tell, pulse.compile, max_s=compiling_max_s)
        self._pinning: dict[int, str] = {}  # calls that wait for a prefix: their ids, and its name
        self._stopping = False

    def run(self) -> bool:
        """Until Shutdown, or the other side is gone. False if native code is still at work: the engine must not be closed then.
        Raises TimeoutError where preparing a request hangs: another process goes on without that request."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()
        while not (self._stopping or self._outbox.is_gone):
            engine = self._engine
            for command in self._wait():
                self._pulse.beat()
                self._handle(command)
            self._end_late()
            if engine.has_work:
                self._outputs += engine.step()
            self._flush()
            if engine.embeddings.has_work:
                self._embed()
            if self._pinning:
                self._tell_pinned()
        return self._preparation.close(wait_s=_END_S)

    def _end_late(self) -> None:
        """Ends what is still being prepared when its time is up."""
        if self._preparation.overdue() is not None:
            raise TimeoutError(f"a constraint has been compiled, or a prompt read, for {self._compiling_max_s:g} s")
        for task in self._preparation.late():
            assert isinstance(task.command, SubmitCommand), "calls have no deadline"
            timeout_s = task.command.request.timeout_s
            message = f"the answer was not finished within the request's timeout of {timeout_s} s"
            self._fail(task.command.request.request_id, RequestTimeoutError(message))

    def _wait(self) -> list[Received]:
        """What there is to handle. Without work, waits for some; the heart beats on."""
        self._pulse.beat()
        if self._engine.has_work or self._engine.embeddings.has_work:
            return self._inbox.take(wait_s=0)
        self._pulse.serve(())
        return self._inbox.take(wait_s=min(self._idle_s, self._preparation.left_s() + 1e-3))

    def _on_step(self, request_ids: tuple[str, ...], seconds: float) -> None:
        self._pulse.serve(request_ids)
        self._pulse.beat(_PATIENCE * seconds)

    def _on_pass(self, call_ids: frozenset[Hashable], seconds: float) -> None:
        self._pulse.serve([id for id in call_ids if isinstance(id, int)])
        self._pulse.beat(_PATIENCE * seconds)

    def _read(self) -> None:
        try:
            for command in self._channel:
                self._inbox.put(command, self._engine)
        except Exception:  # what is no frame: nothing behind it can be trusted
            logger.exception("commands_garbled")
        finally:
            self._inbox.put(ShutdownCommand(), self._engine)

    def _flush(self) -> None:
        had_refused = bool(self._refusals)
        self._refusals = self._engine.refusals() if self._has_refused or had_refused else ()
        self._has_refused = False
        if self._outputs or (had_refused and not self._refusals):
            self._send(StepReply(tuple(self._outputs), self._refusals))
            self._outputs.clear()

    def _send(self, message: Reply) -> None:
        for request_id in self._outbox.send(message):
            self._engine.cancel(request_id)

    def _handle(self, command: Received) -> None:
        if isinstance(command, SubmitCommand):
            self._submit(command)
        elif isinstance(command, PreparedRequest):
            self._prepared(command)
        elif isinstance(command, Unreadable):
            self._refuse(command)
        elif isinstance(command, CancelCommand):
            self._cancel(command.request_id)
        elif isinstance(command, AbandonCommand):
            self._preparation.take(command.call_id)
            self._engine.embeddings.cancel(command.call_id)
        elif isinstance(command, ShutdownCommand):
            self._stopping = True
        elif not isinstance(command, ConfigureCommand):
            self._call(command)

    def _refuse(self, frame: Unreadable) -> None:
        """A frame that cannot be read ends whose it is."""
        event(logger, logging.ERROR, "command_unreadable", id=frame.id, problem=frame.problem)
        error = InvalidRequestError(f"the request cannot be read: {frame.problem}")
        if isinstance(frame.id, str):
            self._fail(frame.id, error)
        elif frame.id is not None:
            self._send(_failed(frame.id, error))

    def _cancel(self, request_id: str) -> None:
        if self._preparation.take(request_id):
            self._fail(request_id, RequestCancelledError("the request was cancelled"))
        finished = self._engine.cancel(request_id)
        if finished is not None:
            self._outputs.append(finished)

    def _submit(self, command: SubmitCommand) -> None:
        request = command.request
        try:
            # Before its prompt is read, which costs those who are being answered.
            refusals.check(self._refusals, request.priority)
            if not is_light(request.prompt):
                lane, work = prompt_lane(request.prompt), partial(self._engine.read, request.prompt)
                self._preparation.begin(request.request_id, command, lane, work, request.timeout_s)
            elif request.constraint is None or self._engine.is_prepared(request.constraint):
                self._admit(command)
            else:  # in a thread of its own: it may take longer than a step, and others are being answered
                compiling = partial(self._compile, command, None)
                self._preparation.begin(request.request_id, command, "compile", compiling, request.timeout_s)
        except Exception as error:
            self._fail(request.request_id, error)

    def _compile(self, command: SubmitCommand, prompt: TokenizedPrompt | None) -> TokenizedPrompt | None:
        """In the thread that compiles."""
        assert command.request.constraint is not None
        self._engine.prepare(command.request.constraint)
        return prompt

    def _admit(self, command: SubmitCommand, task: Task | None = None, prompt: TokenizedPrompt | None = None) -> None:
        request = command.request
        self._pulse.serve((request.request_id,))
        if task is None or prompt is None:
            if task is not None and request.timeout_s is not None:
                request = structs.replace(request, timeout_s=max(self._preparation.left_s(task), 1e-3))
            self._outputs.append(self._engine.submit(request))
        else:
            self._outputs.append(self._engine.submit(request, prompt=prompt, arrived_s=task.arrived_s))

    def _prepared(self, prepared: PreparedRequest) -> None:
        task = prepared.task
        if not self._preparation.took(task):
            return  # it was cancelled meanwhile
        if not isinstance(task.command, SubmitCommand):
            self._call(task.command, prepared)
            return
        request = task.command.request
        try:
            if prepared.error is not None:
                raise prepared.error
            if request.constraint is None or self._engine.is_prepared(request.constraint):
                self._admit(task.command, task, prepared.result)
            else:
                self._preparation.go_on(task, "compile", partial(self._compile, task.command, prepared.result))
        except Exception as error:
            self._fail(request.request_id, error)

    def _fail(self, request_id: str, error: Exception) -> None:
        self._has_refused |= isinstance(error, OverloadedError)
        if isinstance(error, LlmcoreError):
            retry_after_s = error.retry_after_s if isinstance(error, OverloadedError) else None
            self._outputs.append(Failed(request_id, error.code, error.message, error.param, retry_after_s))
            return
        # Our own bug must not end everybody's conversation.
        logger.error("submit_failed", exc_info=error)
        self._outputs.append(Failed(request_id, LlmcoreError.code, f"internal error: {type(error).__name__}"))

    def _call(self, command: CallCommand, prepared: PreparedRequest | None = None) -> None:
        self._pulse.serve((command.call_id,))
        try:
            if prepared is not None and prepared.error is not None:
                raise prepared.error
            reply = self._answer(command, prepared)
        except LlmcoreError as error:
            reply = _failed(command.call_id, error)
        except Exception as error:  # as in _submit
            logger.exception("call_failed")
            reply = CallFailedReply(command.call_id, LlmcoreError.code, f"internal error: {type(error).__name__}")
        if reply is not None:
            self._send(reply)

    def _answer(self, command: CallCommand, prepared: PreparedRequest | None) -> CallReply | None:
        """None where the answer comes later."""
        engine, call_id = self._engine, command.call_id
        if isinstance(command, (TokenizeCommand, RenderCommand, PinCommand, EmbedCommand, RerankCommand)):
            return self._read_call(command) if prepared is None else self._take(command, prepared.result)
        if isinstance(command, DetokenizeCommand):
            return TextReply(call_id, engine.model.detokenize(command.tokens, unparse_special=True))
        if isinstance(command, GetStatsCommand):
            return StatsReply(call_id, engine.stats())
        if isinstance(command, InspectCommand):
            return InspectionReply(call_id, engine.inspect())
        if isinstance(command, GetPrefixesCommand):
            return PrefixesReply(call_id, tuple(engine.prefixes()))
        engine.unpin(command.name)
        return PrefixesReply(call_id, ())

    def _read_call(self, command: Reading) -> CallReply | None:
        """Reads the text of a call: here, or in a thread of its own if it is long."""
        lane, work = reading(command, self._engine)
        if lane is None:
            return self._take(command, work())
        self._preparation.begin(command.call_id, command, lane, work)
        return None

    def _take(self, command: Reading, read: Any) -> CallReply | None:
        """Answers a call whose text was read."""
        engine, call_id = self._engine, command.call_id
        if isinstance(command, TokenizeCommand):
            return TokensReply(call_id, read)
        if isinstance(command, RenderCommand):
            return TextReply(call_id, read)
        if isinstance(command, EmbedCommand):
            engine.embeddings.submit(call_id, read, dimensions=command.dimensions)
        elif isinstance(command, RerankCommand):
            engine.embeddings.submit_pairs(call_id, command.query, read)
        else:
            engine.pin(command.prefix, tokens=read)
            self._pinning[call_id] = command.prefix.name
        return None

    def _embed(self) -> None:
        """Some texts between two steps: whoever is being answered waits no longer than for half a step."""
        for done in self._engine.embeddings.step(is_busy=self._engine.has_work):
            assert isinstance(done.id, int), "the ids of its jobs are those of calls"
            if done.vectors is None:
                assert done.error is not None
                self._send(_failed(done.id, done.error))
            else:
                self._send(VectorsReply(done.id, done.vectors.tobytes(), done.vectors.shape[1], done.n_tokens))

    def _tell_pinned(self) -> None:
        """Answers the calls whose prefix is computed, or is no more."""
        infos: dict[str, PrefixInfo] = {info.name: info for info in self._engine.prefixes()}
        for call_id, name in list(self._pinning.items()):
            info = infos.get(name)
            if info is not None and not info.is_computed:
                continue
            del self._pinning[call_id]
            if info is not None:
                self._send(PrefixesReply(call_id, (info,)))
            else:
                self._send(
                    CallFailedReply(call_id, PrefixMissingError.code, f"the prefix {name!r} was unpinned, or failed")
                )


def _failed(call_id: int, error: LlmcoreError) -> CallFailedReply:
    retry_after_s = error.retry_after_s if isinstance(error, OverloadedError) else None
    return CallFailedReply(call_id, error.code, error.message, error.param, retry_after_s)


def open_and_warm(config: EngineConfig, channel: Channel[Command | Unreadable], pulse: Heartbeat) -> AnyEngine:
    """Loads and warms an engine, telling the progress, and that it is ready. Raises ClientGone, and what open_engine() raises."""
    told = -1.0

    def progress(fraction: float) -> bool:
        nonlocal told
        pulse.beat(LOADING_S)
        if fraction - told >= _PROGRESS_STEP or fraction >= 1.0:
            told = fraction
            _tell(channel, LoadingReply(fraction))
        return True

    engine = open_engine(config, progress=progress)
    try:
        engine.warm_up()
        _tell(channel, ReadyReply(engine.info()))
    except BaseException:
        engine.close()
        raise
    return engine


def _tell(channel: Channel[Command | Unreadable], message: Reply) -> None:
    try:
        channel.send(message)
    except OSError:
        raise ClientGone from None


def serve(sock: socket.socket, pulse: Heartbeat) -> int:
    """The process's life. Returns its exit status."""
    channel: Channel[Command | Unreadable] = Channel(sock, Command, unreadable)
    try:
        first = channel.receive()
    except (EOFError, OSError):
        return 0
    if not isinstance(first, ConfigureCommand):
        raise TypeError(f"expected Configure, got {type(first).__name__}")
    log.configure(first.log_level)
    try:
        config = attach_paths(first.engine, first.paths)
        engine = open_and_warm(config, channel, pulse)
    except ClientGone:
        return 0
    except Exception as error:  # whatever it is, it would come again
        if not isinstance(error, LlmcoreError):
            logger.exception("load_failed")
        with contextlib.suppress(OSError):
            channel.send(load_failure(error, first.engine.model_path))
        return 1
    if Worker(engine, channel, pulse, silent_s=first.engine.worker_silent_s).run():
        engine.close()
    return 0


def load_failure(error: Exception, path: str) -> LoadFailedReply:
    """Makes the message of a load that failed: a typed error unchanged, any other with its kind."""
    if isinstance(error, LlmcoreError):
        return LoadFailedReply(error.code, error.message, error.param)
    kind = InsufficientMemoryError if isinstance(error, MemoryError) else ModelError
    why = ": ".join(filter(None, (type(error).__name__, str(error))))
    return LoadFailedReply(kind.code, printable(f"cannot load {path}: {why}"), "model_path")


class LastWords(logging.Handler):
    """Leaves the message of an abort where the client finds it when this process is gone."""

    def __init__(self, pulse: Heartbeat) -> None:
        super().__init__(logging.CRITICAL)
        self._pulse = pulse

    def emit(self, record: logging.LogRecord) -> None:
        self._pulse.set_cause(record.getMessage())


def main() -> None:
    # A terminal sends these to the whole process group, a service manager to all processes of a service: when this process ends
    # is its parent's decision, which may have answers to finish. It ends when its socket does.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    forbid_core_files()
    status = 1
    pulse = Heartbeat(int(sys.argv[2]))
    logging.getLogger("llmcore.native").addHandler(LastWords(pulse))
    with socket.socket(fileno=int(sys.argv[1])) as sock:
        try:
            status = serve(sock, pulse)
        except Exception as error:  # our own bug: end at once, since callers are told only when the process is gone
            logger.exception("worker_failed")
            pulse.set_cause(f"{type(error).__name__}: {error}")
    # Threads of native code, the compiler's and the reader may still run: nothing of ours is left to clean up.
    logging.shutdown()
    os._exit(status)


if __name__ == "__main__":
    main()
