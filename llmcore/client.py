"""Async access to an engine in a supervised child process (worker.py).

If the child dies, what was running ends with EngineDiedError, and the child is started again with a growing pause between
attempts. A failure to load is different: it would come again, so the engine stays `failed`. This module loads no native
code.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from typing import Any, Literal

from llmcore.calls import Calls
from llmcore.child import Child
from llmcore.config import EngineConfig
from llmcore.errors import (
    EngineDiedError,
    EngineUnavailableError,
    LlmcoreError,
    PrefixMissingError,
    error_from_code,
)
from llmcore.generation import Generation
from llmcore.log import event
from llmcore.messages import (
    Abandon,
    Cancel,
    ChatPrompt,
    Command,
    Configure,
    Detokenize,
    Embed,
    EngineStats,
    Event,
    Failed,
    Finished,
    GenerateRequest,
    GetPrefixes,
    GetStats,
    Inspect,
    LoadFailed,
    Loading,
    ModelInfo,
    Pin,
    PrefixInfo,
    PrefixSpec,
    Ready,
    Render,
    Rerank,
    Shutdown,
    StepDone,
    Submit,
    Tokenize,
    Unpin,
    Vectors,
)

logger = logging.getLogger(__name__)

EngineState = Literal["loading", "ready", "restarting", "failed", "stopped"]

RESTART_PAUSE_FIRST_S = 0.1
RESTART_PAUSE_MAX_S = 10.0
# A child that lived this long was well: the next pause is the first one again.
WELL_AFTER_S = 60.0


class AsyncEngine:
    """An engine in a child process. All methods belong to one event loop."""

    def __init__(self, config: EngineConfig, *, log_level: str = "info") -> None:
        self._config = config
        self._log_level = log_level
        self._child: Child | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._generations: dict[str, Generation] = {}  # until the engine has ended them, read or not
        self._cancelled_s: dict[str, float] = {}  # of these, when a Cancel was sent
        self._calls = Calls(self._send)
        self._pins: dict[str, PrefixSpec] = {}  # what a new child has to pin again
        self._warming: set[asyncio.Future[Any]] = set()  # of these, those that it has not computed yet
        self._load_error: LlmcoreError | None = None
        self._settled = asyncio.Event()  # ready, failed or stopped
        self.state: EngineState = "loading"
        self.model: ModelInfo | None = None
        self.load_progress = 0.0
        self.n_restarts = 0
        # Told for each request that was cancelled: the seconds from the Cancel to its end.
        self.on_cancelled: Callable[[float], None] | None = None

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

    async def _spawn(self) -> Child:
        """A cancel in the middle of starting a process must not lose the process."""
        child = Child(self._dispatch)
        starting = asyncio.ensure_future(child.start())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            await starting
            await child.end()
            raise
        return child

    async def _serve(self, child: Child) -> None:
        """Until the child is gone."""
        self._send(Configure(self._config, self._log_level))
        await child.gone()

    async def _bury(self, child: Child) -> int:
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
        generation = self._generations[request.request_id] = Generation(request.request_id, self._forget)
        self._send(Submit(request))
        try:
            await generation.accepted()
        except BaseException:
            await generation.aclose()
            raise
        return generation

    async def cancel(self, request_id: str) -> bool:
        """Cancels a request. Its reader gets Finished with reason "cancelled", or the end that was on its way already.

        Returns False if there is no request of that id, or nobody reads it any more.
        """
        generation = self._generations.get(request_id)
        if generation is None or generation.is_ended:
            return False
        self._cancel(request_id)
        return True

    def _forget(self, generation: Generation) -> None:
        if self._generations.get(generation.request_id) is generation:
            self._cancel(generation.request_id)

    def _cancel(self, request_id: str) -> None:
        if request_id not in self._cancelled_s:
            self._cancelled_s[request_id] = time.monotonic()
            self._send(Cancel(request_id))

    @property
    def is_warm(self) -> bool:
        """False while a new process computes again what was pinned in the one before. (The prefix file's are computed before
        it is ready.)"""
        return not self._warming

    # --- Prefixes -----------------------------------------------------------------------------------------------------

    async def pin(self, spec: PrefixSpec) -> PrefixInfo:
        """Computes a prefix and keeps it, also in the next process if this one dies. Returns once it is computed.

        Raises InvalidRequestError, ContextLengthError, OverloadedError or EngineUnavailableError; then what was pinned
        under that name before stays.
        """
        pinning = self._calls.start(Pin(self._next_call(), spec))
        pinning.add_done_callback(functools.partial(self._pinned, spec))
        info: PrefixInfo
        # Shielded: a caller who stops waiting does not stop the engine from pinning, and the next process must know.
        (info,) = await asyncio.shield(pinning)
        return info

    async def unpin(self, name: str) -> None:
        """Lets a prefix go. Raises PrefixMissingError."""
        unpinning = self._calls.start(Unpin(self._next_call(), name))
        unpinning.add_done_callback(functools.partial(self._unpinned, name))
        await asyncio.shield(unpinning)

    async def prefixes(self) -> list[PrefixInfo]:
        """All pinned prefixes, those of the configuration's prefix file included."""
        return list(await self._calls.start(GetPrefixes(self._next_call())))

    def _pinned(self, spec: PrefixSpec, pinning: asyncio.Future[Any]) -> None:
        if pinning.exception() is None:
            self._pins[spec.name] = spec

    def _unpinned(self, name: str, unpinning: asyncio.Future[Any]) -> None:
        if unpinning.exception() is None or isinstance(unpinning.exception(), PrefixMissingError):
            self._pins.pop(name, None)

    def _pin_again(self) -> None:
        for name, spec in self._pins.items():
            pinning = self._calls.start(Pin(self._next_call(), spec))
            self._warming.add(pinning)
            pinning.add_done_callback(self._warming.discard)
            pinning.add_done_callback(functools.partial(_tell_lost, name))

    # --- Calls --------------------------------------------------------------------------------------------------------

    async def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text; see Model.tokenize."""
        return list(await self._calls.start(Tokenize(self._next_call(), text, add_special, parse_special)))

    async def detokenize(self, tokens: Tokens[int]) -> str:
        """Text of tokens, special ones shown. Raises InvalidRequestError for an id outside the vocabulary."""
        return str(await self._calls.start(Detokenize(self._next_call(), tuple(tokens))))

    async def render(self, prompt: ChatPrompt) -> str:
        """Messages as the chat template writes them. Raises InvalidRequestError."""
        return str(await self._calls.start(Render(self._next_call(), prompt)))

    async def embed(self, texts: Tokens[str | Tokens[int]], *, dimensions: int | None = None) -> Vectors:
        """Embeddings of texts, or of token ids as they stand. Cancelling ends what is not computed yet.

        Raises UnsupportedError, InvalidRequestError, ContextLengthError or OverloadedError.
        """
        given = tuple(each if isinstance(each, str) else tuple(each) for each in texts)
        return await self._vectors(Embed(self._next_call(), given, dimensions))

    async def rerank(self, query: str, documents: Tokens[str]) -> Vectors:
        """Scores of documents, of width 1. As embed()."""
        return await self._vectors(Rerank(self._next_call(), query, tuple(documents)))

    async def _vectors(self, call: Embed | Rerank) -> Vectors:
        try:
            vectors: Vectors = await self._calls.start(call)
        except asyncio.CancelledError:
            self._send(Abandon(call.call_id))
            raise
        return vectors

    async def stats(self) -> EngineStats:
        """Counts and gauges of the engine."""
        reply: EngineStats = await self._calls.start(GetStats(self._next_call()))
        return reply

    async def inspect(self) -> bytes:
        """JSON of what the engine has in hand: slots, tree, queue, host tier and cost model, without text or tokens."""
        return bytes(await self._calls.start(Inspect(self._next_call())))

    def _next_call(self) -> int:
        self._check_available()
        return self._calls.next_id()

    def _check_available(self) -> None:
        if self._load_error is not None:
            raise EngineUnavailableError(f"the model could not be loaded: {self._load_error.message}")
        if self.state != "ready":
            raise EngineUnavailableError(f"the engine is {self.state}")

    # --- Messages -----------------------------------------------------------------------------------------------------

    def _send(self, command: Command) -> None:
        # To a child that is gone nothing needs to be said: its requests are ended by _bury.
        if self._child is not None:
            self._child.send(command)

    def _dispatch(self, message: Event) -> None:
        if isinstance(message, StepDone):
            for output in message.outputs:
                generation = self._generations.get(output.request_id)
                if generation is not None:
                    if isinstance(output, (Finished, Failed)):
                        self._end(output.request_id)
                    generation.put(output)
        elif isinstance(message, Loading):
            self.load_progress = message.progress
        elif isinstance(message, (Ready, LoadFailed)):
            self._settle(message)
        else:
            self._calls.reply(message)

    def _end(self, request_id: str) -> None:
        del self._generations[request_id]
        sent_s = self._cancelled_s.pop(request_id, None)
        if sent_s is not None and self.on_cancelled is not None:
            self.on_cancelled(time.monotonic() - sent_s)

    def _settle(self, message: Ready | LoadFailed) -> None:
        if self.state == "stopped":
            return
        if isinstance(message, LoadFailed):
            self._load_error = error_from_code(message.code, message.message, message.param)
            self.state = "failed"
        else:
            self.model, self.state = message.model, "ready"
            self._pin_again()  # now: before any request can come
            event(logger, logging.INFO, "engine_ready", model=self.model.path, description=self.model.description)
        self._settled.set()

    def _end_all(self, error: LlmcoreError) -> None:
        self._cancelled_s.clear()
        generations, self._generations = self._generations, {}
        for generation in generations.values():
            generation.put(error)
        self._calls.end_all(error)


def _tell_lost(name: str, pinning: asyncio.Future[Any]) -> None:
    """For a prefix that a new process could not pin again. (If that process died too, the next one tries.)"""
    error = pinning.exception()
    if error is not None and not isinstance(error, EngineUnavailableError):
        event(logger, logging.ERROR, "prefix_lost", prefix=name, error=str(error))
