"""The engine's process: commands in from a socket, events out, one thread that owns the engine.

Started by child.py as `python -m llmcore.worker FD PULSE`, where FD is one end of a socket pair and PULSE the memory that
tells that it is alive, and for whom it works. The first frame is the EngineConfig. A second thread does nothing but read
commands, so that a cancel can interrupt the step that is being computed. The process ends when the other side is gone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor

from llmcore import log, refusals
from llmcore.config import EngineConfig, attach_paths
from llmcore.encoder import AnyEngine, open_engine
from llmcore.errors import (
    InsufficientMemoryError,
    LlmcoreError,
    ModelError,
    OverloadedError,
    PrefixMissingError,
    RequestCancelledError,
)
from llmcore.inbox import Inbox, Prepared
from llmcore.machine.os_text import printable
from llmcore.messages import (
    Abandon,
    Call,
    CallFailed,
    Cancel,
    Command,
    Configure,
    Constraint,
    Detokenize,
    Embed,
    Event,
    Failed,
    GetPrefixes,
    GetStats,
    Inspect,
    Inspection,
    LoadFailed,
    Loading,
    Output,
    Prefixes,
    PrefixInfo,
    Ready,
    Render,
    Reply,
    Rerank,
    Shutdown,
    Stats,
    StepDone,
    Submit,
    Text,
    Tokenize,
    Tokens,
    Unpin,
    Vectors,
)
from llmcore.pulse import LOADING_S, Pulse
from llmcore.wire import Channel

logger = logging.getLogger(__name__)

# Loading is told in steps of this much, not for every tensor.
_PROGRESS_STEP = 0.02


# Requests whose constraints wait to be compiled.
_N_PREPARING_MAX = 64

# An idle engine's thread beats so often, or more where that would be too seldom for worker_silent_s.
_BEAT_S = 1.0
_BEATS = 4
# Compiling a constraint is bounded (constraint.py); what takes so much longer than it may hangs, and all others wait for it.
COMPILING_MAX_S = 60.0
# A step may take so many times what it is predicted to take: a slow step is not a dead one.
_PATIENCE = 30.0


class ClientGone(Exception):
    """The other side went while a model was loaded for it."""


class Worker:
    """Serves one engine over one channel."""

    def __init__(
        self,
        engine: AnyEngine,
        channel: Channel[Command],
        pulse: Pulse,
        *,
        silent_s: float = 0.0,
        compiling_max_s: float = COMPILING_MAX_S,
    ) -> None:
        """`silent_s` is as EngineConfig.worker_silent_s."""
        self._compiling_max_s = compiling_max_s
        self._compiling_s: float | None = None  # since when, while a constraint is compiled
        self._engine = engine
        self._channel = channel
        self._pulse = pulse
        self._idle_s = min(_BEAT_S, silent_s / _BEATS or _BEAT_S)
        engine.on_step = self._on_step
        engine.embeddings.on_pass = self._on_pass
        self._inbox = Inbox()
        self._outputs: list[Output] = []
        self._has_refused = False  # since the last word on who is refused
        self._refusals: refusals.Refusals = ()  # reckoned only once somebody was refused
        self._preparing: dict[str, Submit] = {}  # requests whose constraints are being compiled
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="llmcore-compiler")
        self._pinning: dict[int, str] = {}  # calls that wait for a prefix: their ids, and its name
        self._stopping = False

    def run(self) -> None:
        """Until Shutdown, or the other side is gone. Raises TimeoutError where compiling hangs: another process goes on without
        the request that did it."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()
        while not self._stopping:
            engine = self._engine
            for command in self._wait():
                self._pulse.beat()
                self._handle(command)
            since_s = self._compiling_s
            if since_s is not None and time.monotonic() - since_s > self._compiling_max_s:
                raise TimeoutError(f"a constraint has been compiled for {self._compiling_max_s:g} s")
            if engine.has_work:
                self._outputs += engine.step()
            self._flush()
            if engine.embeddings.has_work:
                self._embed()
            if self._pinning:
                self._tell_pinned()
        self._compiler.shutdown(wait=False, cancel_futures=True)

    def _wait(self) -> list[Command | Prepared]:
        """What there is to handle. Without work, waits for some; the heart beats on."""
        self._pulse.beat()
        if self._engine.has_work or self._engine.embeddings.has_work:
            return self._inbox.take(wait_s=0)
        self._pulse.serve(())
        return self._inbox.take(wait_s=self._idle_s)

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
        except Exception:  # a frame that cannot be read: nothing behind it can be trusted
            logger.exception("commands_garbled")
        finally:
            self._inbox.put(Shutdown(), self._engine)

    def _flush(self) -> None:
        had_refused = bool(self._refusals)
        self._refusals = self._engine.refusals() if self._has_refused or had_refused else ()
        self._has_refused = False
        if self._outputs or (had_refused and not self._refusals):
            self._send(StepDone(tuple(self._outputs), self._refusals))
            self._outputs.clear()

    def _send(self, message: Event) -> None:
        try:
            self._channel.send(message)
        except OSError:
            self._stopping = True

    def _handle(self, command: Command | Prepared) -> None:
        if isinstance(command, Submit):
            self._submit(command)
        elif isinstance(command, Prepared):
            self._prepared(command)
        elif isinstance(command, Cancel):
            self._cancel(command.request_id)
        elif isinstance(command, Abandon):
            self._engine.embeddings.cancel(command.call_id)
        elif isinstance(command, Shutdown):
            self._stopping = True
        elif not isinstance(command, Configure):
            self._call(command)

    def _cancel(self, request_id: str) -> None:
        if self._preparing.pop(request_id, None) is not None:
            self._fail(request_id, RequestCancelledError("the request was cancelled"))
        finished = self._engine.cancel(request_id)
        if finished is not None:
            self._outputs.append(finished)

    def _submit(self, command: Submit) -> None:
        request_id, constraint = command.request.request_id, command.request.constraint
        try:
            # Before its prompt is read, which costs those who are being answered.
            refusals.check(self._refusals, command.request.priority)
            if constraint is None or self._engine.is_prepared(constraint):
                self._admit(command)
            elif len(self._preparing) >= _N_PREPARING_MAX:
                raise OverloadedError(f"{_N_PREPARING_MAX} requests wait for their constraints to be compiled")
            else:  # in a thread of its own: it may take longer than a step, and others are being answered
                self._preparing[request_id] = command
                self._compiler.submit(self._prepare, request_id, constraint)
        except Exception as error:
            self._fail(request_id, error)

    def _admit(self, command: Submit) -> None:
        self._pulse.serve((command.request.request_id,))
        self._outputs.append(self._engine.submit(command.request))

    def _prepare(self, request_id: str, constraint: Constraint) -> None:
        """In the thread that compiles."""
        failure: Exception | None = None
        self._pulse.compile((request_id,))
        self._compiling_s = time.monotonic()
        try:
            self._engine.prepare(constraint)
        except Exception as error:
            failure = error
        self._compiling_s = None
        self._pulse.compile(())
        self._inbox.tell(Prepared(request_id, failure))

    def _prepared(self, prepared: Prepared) -> None:
        command = self._preparing.pop(prepared.request_id, None)
        if command is None:
            return  # it was cancelled meanwhile
        try:
            if prepared.error is not None:
                raise prepared.error
            self._admit(command)
        except Exception as error:
            self._fail(prepared.request_id, error)

    def _fail(self, request_id: str, error: Exception) -> None:
        self._has_refused |= isinstance(error, OverloadedError)
        if isinstance(error, LlmcoreError):
            retry_after_s = error.retry_after_s if isinstance(error, OverloadedError) else None
            self._outputs.append(Failed(request_id, error.code, error.message, error.param, retry_after_s))
            return
        # Our own bug must not end everybody's conversation.
        logger.error("submit_failed", exc_info=error)
        self._outputs.append(Failed(request_id, LlmcoreError.code, f"internal error: {type(error).__name__}"))

    def _call(self, command: Call) -> None:
        self._pulse.serve((command.call_id,))
        try:
            reply = self._answer(command)
        except LlmcoreError as error:
            reply = _failed(command.call_id, error)
        except Exception as error:  # as in _submit
            logger.exception("call_failed")
            reply = CallFailed(command.call_id, LlmcoreError.code, f"internal error: {type(error).__name__}")
        if reply is not None:
            self._send(reply)

    def _answer(self, command: Call) -> Reply | None:
        """None where the answer comes later."""
        engine, call_id = self._engine, command.call_id
        if isinstance(command, Tokenize):
            add, parse = command.add_special, command.parse_special
            return Tokens(call_id, tuple(engine.model.tokenize(command.text, add_special=add, parse_special=parse)))
        if isinstance(command, Detokenize):
            return Text(call_id, engine.model.detokenize(command.tokens, unparse_special=True))
        if isinstance(command, Render):
            return Text(call_id, engine.render(command.prompt))
        if isinstance(command, Embed):
            engine.embeddings.submit(call_id, command.texts, dimensions=command.dimensions)
            return None
        if isinstance(command, Rerank):
            engine.embeddings.submit_pairs(call_id, command.query, command.documents)
            return None
        if isinstance(command, GetStats):
            return Stats(call_id, engine.stats())
        if isinstance(command, Inspect):
            return Inspection(call_id, engine.inspect())
        if isinstance(command, GetPrefixes):
            return Prefixes(call_id, tuple(engine.prefixes()))
        if isinstance(command, Unpin):
            engine.unpin(command.name)
            return Prefixes(call_id, ())
        engine.pin(command.prefix)
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
                self._send(Vectors(done.id, done.vectors.tobytes(), done.vectors.shape[1], done.n_tokens))

    def _tell_pinned(self) -> None:
        """Answers the calls whose prefix is computed, or is no more."""
        infos: dict[str, PrefixInfo] = {info.name: info for info in self._engine.prefixes()}
        for call_id, name in list(self._pinning.items()):
            info = infos.get(name)
            if info is not None and not info.is_computed:
                continue
            del self._pinning[call_id]
            if info is not None:
                self._send(Prefixes(call_id, (info,)))
            else:
                self._send(CallFailed(call_id, PrefixMissingError.code, f"the prefix {name!r} was unpinned, or failed"))


def _failed(call_id: int, error: LlmcoreError) -> CallFailed:
    retry_after_s = error.retry_after_s if isinstance(error, OverloadedError) else None
    return CallFailed(call_id, error.code, error.message, error.param, retry_after_s)


def open_and_warm(config: EngineConfig, channel: Channel[Command], pulse: Pulse) -> AnyEngine:
    """Loads and warms an engine, telling the progress, and that it is ready. Raises ClientGone, and what open_engine() raises."""
    told = -1.0

    def progress(fraction: float) -> bool:
        nonlocal told
        pulse.beat(LOADING_S)
        if fraction - told >= _PROGRESS_STEP or fraction >= 1.0:
            told = fraction
            _tell(channel, Loading(fraction))
        return True

    engine = open_engine(config, progress=progress)
    try:
        engine.warm_up()
        _tell(channel, Ready(engine.info()))
    except BaseException:
        engine.close()
        raise
    return engine


def _tell(channel: Channel[Command], message: Event) -> None:
    try:
        channel.send(message)
    except OSError:
        raise ClientGone from None


def serve(sock: socket.socket, pulse: Pulse) -> int:
    """The process's life. Returns its exit status."""
    channel: Channel[Command] = Channel(sock, Command)
    try:
        first = channel.receive()
    except (EOFError, OSError):
        return 0
    if not isinstance(first, Configure):
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
    with engine:
        Worker(engine, channel, pulse, silent_s=first.engine.worker_silent_s).run()
    return 0


def load_failure(error: Exception, path: str) -> LoadFailed:
    """What is told of a load that failed: a typed error as it is, any other with its kind."""
    if isinstance(error, LlmcoreError):
        return LoadFailed(error.code, error.message, error.param)
    kind = InsufficientMemoryError if isinstance(error, MemoryError) else ModelError
    why = ": ".join(filter(None, (type(error).__name__, str(error))))
    return LoadFailed(kind.code, printable(f"cannot load {path}: {why}"), "model_path")


class LastWords(logging.Handler):
    """Leaves the message of an abort where the client finds it when this process is gone."""

    def __init__(self, pulse: Pulse) -> None:
        super().__init__(logging.CRITICAL)
        self._pulse = pulse

    def emit(self, record: logging.LogRecord) -> None:
        self._pulse.set_cause(record.getMessage())


def main() -> None:
    # A terminal sends these to the whole process group, a service manager to all processes of a service: when this process ends
    # is its parent's decision, which may have answers to finish. It ends when its socket does.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    # A core file would hold everybody's prompts, and keep whoever waits for this process waiting while it is written.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    status = 1
    pulse = Pulse(int(sys.argv[2]))
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
