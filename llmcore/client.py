"""Async access to an engine in a supervised child process (worker.py).

If the child dies, what was running ends with EngineDiedError, and the child is started again with a growing pause between
attempts. A failure to load is different: it would come again, so the engine stays `failed`. This module loads no native
code.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence as Tokens
from typing import Any, Literal

import msgspec

from llmcore.config import EngineConfig
from llmcore.errors import EngineDiedError, EngineUnavailableError, LlmcoreError, error_from_code
from llmcore.log import event
from llmcore.messages import (
    Accepted,
    CallFailed,
    Cancel,
    Configure,
    Detokenize,
    EngineStats,
    Event,
    Failed,
    Finished,
    GenerateRequest,
    GetStats,
    LoadFailed,
    Loading,
    ModelInfo,
    Output,
    Piece,
    Ready,
    Shutdown,
    Stats,
    StepDone,
    Submit,
    Text,
    Tokenize,
)
from llmcore.wire import HEADER_BYTES, FrameError, frame, frame_length

logger = logging.getLogger(__name__)

EngineState = Literal["loading", "ready", "restarting", "failed", "stopped"]

RESTART_PAUSE_FIRST_S = 0.1
RESTART_PAUSE_MAX_S = 10.0
# A child that lived this long was well: the next pause is the first one again.
WELL_AFTER_S = 60.0
# How long the child may take to end by itself once it was told to.
STOP_TIMEOUT_S = 5.0


class Generation:
    """The answer to one request, as it comes: iterate over Piece, the last item is Finished.

    Iterating raises the request's error. `aclose()` cancels what has not ended; always call it (or use
    `contextlib.aclosing`).
    """

    def __init__(self, engine: AsyncEngine, request_id: str) -> None:
        self.request_id = request_id
        self.n_prompt = 0
        self._engine = engine
        self._outputs: asyncio.Queue[Output | LlmcoreError] = asyncio.Queue()
        self._ended = False

    def put(self, output: Output | LlmcoreError) -> None:
        """For the engine's client: the next output, or the error that ends it."""
        self._outputs.put_nowait(output)

    async def accepted(self) -> None:
        """Waits until the request is admitted. Raises its error."""
        output = await self._next()
        assert isinstance(output, Accepted), "the engine accepts a request before it answers it"
        self.n_prompt = output.n_prompt

    def __aiter__(self) -> Generation:
        return self

    async def __anext__(self) -> Piece | Finished:
        if self._ended:
            raise StopAsyncIteration
        output = await self._next()
        assert not isinstance(output, Accepted)
        self._ended = isinstance(output, Finished)
        return output

    async def _next(self) -> Accepted | Piece | Finished:
        output = await self._outputs.get()
        if isinstance(output, Failed):
            output = error_from_code(output.code, output.message, output.param)
        if isinstance(output, LlmcoreError):
            self._ended = True
            raise output
        return output

    async def aclose(self) -> None:
        """Cancels the request if it has not ended. Idempotent, never raises."""
        if not self._ended:
            self._ended = True
            self._engine.forget(self)


class _Child:
    """One life of the worker process."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.process = process
        self.reader = reader
        self.writer = writer
        self.started_s = time.monotonic()

    @classmethod
    async def spawn(cls) -> _Child:
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "llmcore.worker",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # The folder that the service is started in must not shadow anybody's modules (Python 3.11 and later).
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        return cls(process, reader, writer)

    async def receive(self, decoder: msgspec.msgpack.Decoder[Event]) -> Event:
        """Raises IncompleteReadError or OSError when the child is gone."""
        header = await self.reader.readexactly(HEADER_BYTES)
        return decoder.decode(await self.reader.readexactly(frame_length(header)))

    async def end(self) -> int:
        """Ends the process if it has not ended, and reaps it; returns its status (negative: the signal that ended it)."""
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()
        try:
            return await asyncio.wait_for(self.process.wait(), STOP_TIMEOUT_S)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            return await self.process.wait()


class AsyncEngine:
    """An engine in a child process. All methods belong to one event loop."""

    def __init__(self, config: EngineConfig, *, log_level: str = "info") -> None:
        self._config = config
        self._log_level = log_level
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)
        self._child: _Child | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._generations: dict[str, Generation] = {}
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._n_calls = 0
        self._load_error: LlmcoreError | None = None
        self._settled = asyncio.Event()  # ready, failed or stopped
        self.state: EngineState = "loading"
        self.model: ModelInfo | None = None
        self.load_progress = 0.0
        self.n_restarts = 0

    # --- Life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts the child and returns; loading goes on in the background."""
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(), name="llmcore-supervisor")

    async def wait_ready(self) -> ModelInfo:
        """Waits until a model is loaded and warm. Raises the load error, or EngineUnavailableError after stop()."""
        await self._settled.wait()
        if self._load_error is not None:
            raise self._load_error
        if self.model is None or self.state == "stopped":
            raise EngineUnavailableError("the engine is stopped")
        return self.model

    async def stop(self) -> None:
        """Ends the child; what is running ends with EngineUnavailableError. Idempotent."""
        self.state = "stopped"
        self._settled.set()
        self._end_all(EngineUnavailableError("the engine is stopping"))
        self._send(Shutdown())
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None

    async def __aenter__(self) -> AsyncEngine:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _supervise(self) -> None:
        pause_s = RESTART_PAUSE_FIRST_S
        while self.state not in ("failed", "stopped"):
            self._child = child = await self._spawn()
            try:
                await self._serve(child)
            finally:
                status = await self._bury(child)
            if self.state in ("failed", "stopped"):
                return
            lived_s = time.monotonic() - child.started_s
            pause_s = RESTART_PAUSE_FIRST_S if lived_s > WELL_AFTER_S else pause_s
            event(logger, logging.ERROR, "worker_died", status=status, lived_s=lived_s, restart_in_s=pause_s)
            self.n_restarts += 1
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESTART_PAUSE_MAX_S)

    async def _spawn(self) -> _Child:
        """A cancel in the middle of starting a process must not lose the process."""
        starting = asyncio.ensure_future(_Child.spawn())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await (await starting).end()
            raise

    async def _serve(self, child: _Child) -> None:
        """Until the child is gone."""
        self._send(Configure(self._config, self._log_level))
        try:
            while True:
                self._dispatch(await child.receive(self._decoder))
        except (asyncio.IncompleteReadError, OSError, FrameError, msgspec.DecodeError) as error:
            if not isinstance(error, (asyncio.IncompleteReadError, OSError)):
                event(logger, logging.ERROR, "worker_garbled", error=repr(error))

    async def _bury(self, child: _Child) -> int:
        self._child = None
        if self.state in ("loading", "ready"):
            self.state = "restarting"
            self._settled.clear()
        self._end_all(EngineDiedError("the engine's process ended while this request was running"))
        return await child.end()

    # --- Requests -----------------------------------------------------------------------------------------------------

    async def generate(self, request: GenerateRequest) -> Generation:
        """Submits a request and waits until it is admitted.

        Raises InvalidRequestError, ContextLengthError, OverloadedError, EngineUnavailableError or EngineDiedError.
        """
        self._check_available()
        if request.request_id in self._generations:
            raise ValueError(f"request id {request.request_id!r} is in use")
        generation = self._generations[request.request_id] = Generation(self, request.request_id)
        self._send(Submit(request))
        try:
            await generation.accepted()
        except BaseException:
            await generation.aclose()
            raise
        return generation

    def forget(self, generation: Generation) -> None:
        """For Generation: nobody listens any more."""
        if self._generations.pop(generation.request_id, None) is generation:
            self._send(Cancel(generation.request_id))

    async def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text; see Model.tokenize."""
        reply = await self._call(Tokenize(self._next_call(), text, add_special, parse_special))
        return list(reply)

    async def detokenize(self, tokens: Tokens[int]) -> str:
        """Text of tokens, special ones shown. Raises InvalidRequestError for an id outside the vocabulary."""
        return str(await self._call(Detokenize(self._next_call(), tuple(tokens))))

    async def stats(self) -> EngineStats:
        """Counts and gauges of the engine."""
        reply: EngineStats = await self._call(GetStats(self._next_call()))
        return reply

    # --- Messages -----------------------------------------------------------------------------------------------------

    def _check_available(self) -> None:
        if self._load_error is not None:
            raise EngineUnavailableError(f"the model could not be loaded: {self._load_error.message}")
        if self.state != "ready":
            raise EngineUnavailableError(f"the engine is {self.state}")

    def _next_call(self) -> int:
        self._check_available()
        self._n_calls += 1
        return self._n_calls

    async def _call(self, command: Tokenize | Detokenize | GetStats) -> Any:
        future = self._calls[command.call_id] = asyncio.get_running_loop().create_future()
        try:
            self._send(command)
            return await future
        finally:
            del self._calls[command.call_id]

    def _send(self, command: Any) -> None:
        # To a child that is gone nothing needs to be said: its requests are ended by _bury.
        if self._child is not None and not self._child.writer.is_closing():
            self._child.writer.write(frame(command, self._encoder))

    def _dispatch(self, message: Event) -> None:
        if isinstance(message, StepDone):
            for output in message.outputs:
                self._route(output)
        elif isinstance(message, Loading):
            self.load_progress = message.progress
        elif isinstance(message, Ready):
            self.model, self.state = message.model, "ready"
            self._settled.set()
            event(logger, logging.INFO, "engine_ready", model=message.model.path, description=message.model.description)
        elif isinstance(message, LoadFailed):
            self._load_error = error_from_code(message.code, message.message, message.param)
            self.state = "failed"
            self._settled.set()
        else:
            self._reply(message)

    def _route(self, output: Output) -> None:
        generation = self._generations.get(output.request_id)
        if generation is None:
            return  # cancelled here, and the engine did not know yet
        if isinstance(output, (Finished, Failed)):
            del self._generations[output.request_id]
        generation.put(output)

    def _reply(self, message: Any) -> None:
        future = self._calls.get(message.call_id)
        if future is None or future.done():
            return
        if isinstance(message, CallFailed):
            future.set_exception(error_from_code(message.code, message.message, message.param))
        elif isinstance(message, Stats):
            future.set_result(message.stats)
        else:
            future.set_result(message.text if isinstance(message, Text) else message.tokens)

    def _end_all(self, error: LlmcoreError) -> None:
        generations, self._generations = self._generations, {}
        for generation in generations.values():
            generation.put(error)
        for future in self._calls.values():
            if not future.done():
                future.set_exception(error)
