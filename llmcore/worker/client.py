"""Async access to an engine in a supervised child process (worker.py).

If the child dies, or its heart stands still, what was being answered ends with EngineDiedError, everything else is kept
(ledger.py), and the child is started again with a growing pause between attempts. A failure to load at the start is different:
it would come again, so the engine stays `failed`; so does a child that dies twice before it was ever ready. This module loads no
native code.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from typing import Any, Literal

from llmcore.config import EngineConfig
from llmcore.errors import (
    EngineDiedError,
    EngineUnavailableError,
    LlmcoreError,
    ModelLoadDiedError,
    PrefixMissingError,
    error_from_code,
)
from llmcore.log import event
from llmcore.machine.process import Process
from llmcore.messages import ChatPrompt, EngineStats, GenerateRequest, ModelInfo, PrefixInfo, PrefixSpec
from llmcore.protocol.checks import checked, checked_request
from llmcore.protocol.commands import (
    CallCommand,
    DetokenizeCommand,
    EmbedCommand,
    GetPrefixesCommand,
    GetStatsCommand,
    InspectCommand,
    PinCommand,
    RenderCommand,
    RerankCommand,
    TokenizeCommand,
    UnpinCommand,
)
from llmcore.protocol.replies import LoadFailedReply, LoadingReply, ReadyReply, Reply, StepReply, VectorsReply
from llmcore.scheduling import refusals
from llmcore.worker.calls import Calls
from llmcore.worker.generation import Generation
from llmcore.worker.quarantine import digest
from llmcore.worker.request_table import RequestTable
from llmcore.worker.supervisor import Supervisor
from llmcore.worker.vector_calls import VectorCalls

logger = logging.getLogger(__name__)

# A process that dies so often before it was ever ready will not be: no other one is started.
LOADS_DIED_MAX = 2

EngineState = Literal["loading", "ready", "restarting", "failed", "stopped"]


class AsyncEngine:
    """An engine in a child process. All methods belong to one event loop, and to the process that made it: in a process that is
    forked from that one they raise ForkedError.

    Arguments are checked before anything is sent: a field that the process could not read is an InvalidRequestError that names
    it.
    """

    def __init__(self, config: EngineConfig, *, log_level: str = "info") -> None:
        self._supervisor = Supervisor(config, log_level, self._dispatch, self._lost, self._died)
        self._ledger = RequestTable(config, self._supervisor.send, self._tell_cancelled)
        self._calls = Calls(self._supervisor.send)
        self._vectors = VectorCalls(self._calls, self._ledger, self._back, self._supervisor.send)
        self._config = config
        self._process = Process.current
        self._refusals: refusals.Refusals = ()  # what the engine said last
        self._n_waiting = 0  # calls that wait for the next process
        self._pins: dict[str, PrefixSpec] = {}  # what a new child has to pin again
        self._warming: set[asyncio.Future[Any]] = set()  # of these, those that it has not computed yet
        self._load_error: LlmcoreError | None = None
        self._n_loads_died = 0  # before the first one that was ready
        self._settled = asyncio.Event()  # ready, failed or stopped
        self.state: EngineState = "loading"
        self.model: ModelInfo | None = None
        self.load_progress = 0.0
        # Told for each request that was cancelled: the seconds from the Cancel to its end.
        self.on_cancelled: Callable[[float], None] | None = None

    @property
    def n_restarts(self) -> int:
        return self._supervisor.n_restarts

    # --- Life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts the child and returns; loading goes on in the background."""
        self._check_process()
        self._supervisor.start()

    async def wait_ready(self) -> ModelInfo:
        """Waits until a model is loaded and warm. Raises the load error, or EngineUnavailableError after stop()."""
        self._check_process()
        await self._settled.wait()
        if self._load_error is not None:
            raise self._load_error
        if self.model is None or self.state == "stopped":
            raise EngineUnavailableError("the engine is stopped")
        return self.model

    async def stop(self) -> None:
        """Ends the child; what is running ends with EngineUnavailableError. Idempotent. In a process that was forked from the
        engine's, does nothing."""
        if not self._process.is_current:
            return
        self.state = "stopped"
        self._settled.set()
        self._end_all(EngineUnavailableError("the engine is stopping"))
        await self._supervisor.stop()

    async def __aenter__(self) -> AsyncEngine:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def _lost(self, served: set[str | int]) -> bool:
        """The process is gone, while it worked for those. What it had in hand ends, or is kept. False: there is to be no
        other."""
        self._refusals = ()
        if not self._process.is_current:
            self.state = "stopped"
            self._settled.set()
        if self.state in ("loading", "ready"):
            self.state = "restarting"
            self._settled.clear()
        if self.state != "restarting":
            self._end_all(EngineUnavailableError(f"the engine is {self.state}"))
            return False
        calls = (self._calls.get(id) for id in served if isinstance(id, int))
        n_ended, n_kept = self._ledger.died(served, [digest(call) for call in calls if call is not None])
        self._calls.end_all(EngineDiedError("the engine's process ended while this request was running"))
        if n_ended or n_kept:
            event(logger, logging.ERROR, "requests_lost", n_ended=n_ended, n_kept=n_kept)
        return True

    def _died(self, cause: str) -> bool:
        """The process was lost for this reason. False: there is to be no other, since it has died so often before it was ever
        ready. Once it was ready, what is wrong may pass."""
        if self.state in ("failed", "stopped"):
            return False
        if self.model is None:
            self._n_loads_died += 1
            if self._n_loads_died >= LOADS_DIED_MAX:
                message = (
                    f"loading {self._config.model_path} ended the engine's process {self._n_loads_died} times: {cause}"
                )
                self._fail(ModelLoadDiedError(message, param="model_path"))
                self._end_all(EngineUnavailableError(message))
                return False
        return True

    # --- Requests -----------------------------------------------------------------------------------------------------

    async def generate(self, request: GenerateRequest) -> Generation:
        """Submits a request and waits until it is admitted: while the process is being started again, for that too.

        Raises InvalidRequestError, ContextLengthError, PoisonousError, OverloadedError, EngineUnavailableError,
        RequestTimeoutError or EngineDiedError.
        """
        self._check_process()
        request = checked_request(request)
        if self.state != "restarting":
            self._check_available()
        refusals.check(self._refusals, request.priority)
        generation = self._ledger.ask(request)
        try:
            await generation.accepted()
        except BaseException:
            await generation.aclose()
            raise
        return generation

    async def cancel(self, request_id: str) -> bool:
        """Cancels a request. Its reader gets Finished with reason "cancelled", or the end that was on its way already;
        RequestCancelledError where there is no engine at this moment.

        Returns False if there is no request of that id, or nobody reads it any more.
        """
        self._check_process()
        return isinstance(request_id, str) and self._ledger.cancel(request_id)

    def _tell_cancelled(self, seconds: float) -> None:
        if self.on_cancelled is not None:
            self.on_cancelled(seconds)

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
        call = checked(PinCommand(self._next_call(), spec))
        pinning = self._start(call)
        pinning.add_done_callback(functools.partial(self._pinned, call.prefix))
        info: PrefixInfo
        # Shielded: a caller who stops waiting does not stop the engine from pinning, and the next process must know.
        (info,) = await asyncio.shield(pinning)
        return info

    async def unpin(self, name: str) -> None:
        """Lets a prefix go. Raises PrefixMissingError."""
        unpinning = self._calls.start(checked(UnpinCommand(self._next_call(), name)))
        unpinning.add_done_callback(functools.partial(self._unpinned, name))
        await asyncio.shield(unpinning)

    async def prefixes(self) -> list[PrefixInfo]:
        """All pinned prefixes, those of the configuration's prefix file included."""
        return list(await self._calls.start(GetPrefixesCommand(self._next_call())))

    def _pinned(self, spec: PrefixSpec, pinning: asyncio.Future[Any]) -> None:
        if pinning.exception() is None:
            self._pins[spec.name] = spec

    def _unpinned(self, name: str, unpinning: asyncio.Future[Any]) -> None:
        if unpinning.exception() is None or isinstance(unpinning.exception(), PrefixMissingError):
            self._pins.pop(name, None)

    def _pin_again(self) -> None:
        for name, spec in self._pins.items():
            pinning = self._calls.start(PinCommand(self._next_call(), spec))
            self._warming.add(pinning)
            pinning.add_done_callback(self._warming.discard)
            pinning.add_done_callback(functools.partial(_tell_lost, name))

    # --- Calls --------------------------------------------------------------------------------------------------------

    async def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text; see Model.tokenize."""
        return list(await self._start(TokenizeCommand(self._next_call(), text, add_special, parse_special)))

    async def detokenize(self, tokens: Tokens[int]) -> str:
        """Text of tokens, special ones shown. Raises InvalidRequestError for an id outside the vocabulary."""
        return str(await self._start(DetokenizeCommand(self._next_call(), tokens)))  # type: ignore[arg-type]  # checked

    async def render(self, prompt: ChatPrompt) -> str:
        """Messages as the chat template writes them. Raises InvalidRequestError."""
        return str(await self._start(RenderCommand(self._next_call(), prompt)))

    async def embed(self, texts: Tokens[str | Tokens[int]], *, dimensions: int | None = None) -> VectorsReply:
        """Embeddings of texts, or of token ids as they stand. Cancelling ends what is not computed yet.

        Raises UnsupportedError, InvalidRequestError, ContextLengthError, PoisonousError, OverloadedError or
        EngineUnavailableError.
        """
        return await self._vectors.ask(checked(EmbedCommand(0, texts, dimensions)))  # type: ignore[arg-type]  # checked

    async def rerank(self, query: str, documents: Tokens[str]) -> VectorsReply:
        """Scores of documents, of width 1. As embed()."""
        return await self._vectors.ask(checked(RerankCommand(0, query, documents)))  # type: ignore[arg-type]  # checked

    async def stats(self) -> EngineStats:
        """Counts and gauges of the engine."""
        reply: EngineStats = await self._calls.start(GetStatsCommand(self._next_call()))
        return reply

    async def inspect(self) -> bytes:
        """JSON of what the engine has in hand: slots, tree, queue, host tier and cost model, without text or tokens."""
        return bytes(await self._calls.start(InspectCommand(self._next_call())))

    def _start(self, call: CallCommand) -> asyncio.Future[Any]:
        """Starts a call that runs native code for its caller. Raises InvalidRequestError or PoisonousError."""
        call = checked(call)
        self._ledger.check(call, f"call {call.call_id}")
        return self._calls.start(call)

    def _next_call(self) -> int:
        self._check_available()
        return self._calls.next_id()

    async def _back(self) -> None:
        """Waits for the next process, if there is none. Raises EngineUnavailableError where there is none to come, or not
        soon enough, or too many wait for it already."""
        self._check_process()
        wait_s = self._config.restart_wait_s
        if self.state == "restarting" and wait_s and self._n_waiting < self._config.n_waiting_max:
            self._n_waiting += 1
            try:
                await asyncio.wait_for(self._settled.wait(), wait_s)
            except asyncio.TimeoutError:
                raise EngineUnavailableError(f"the engine did not come back within {wait_s:g} s") from None
            finally:
                self._n_waiting -= 1
        self._check_available()

    def _check_process(self) -> None:
        """Raises ForkedError."""
        self._process.check("the engine")

    def _check_available(self) -> None:
        self._check_process()
        if self._load_error is not None:
            raise EngineUnavailableError(f"the model could not be loaded: {self._load_error.message}")
        if self.state != "ready":
            raise EngineUnavailableError(f"the engine is {self.state}")

    # --- Messages -----------------------------------------------------------------------------------------------------

    def _dispatch(self, message: Reply) -> None:
        if isinstance(message, StepReply):
            self._refusals = message.refusals
            self._ledger.receive(message.outputs)
        elif isinstance(message, LoadingReply):
            self.load_progress = message.progress
        elif isinstance(message, (ReadyReply, LoadFailedReply)):
            self._settle(message)
        else:
            self._calls.reply(message)

    def _settle(self, message: ReadyReply | LoadFailedReply) -> None:
        if self.state == "stopped":
            return
        if isinstance(message, LoadFailedReply):
            if self.model is not None:  # it could be loaded before: what is wrong (memory, most likely) may pass
                event(logger, logging.ERROR, "reload_failed", code=message.code, message=message.message)
                return
            self._fail(error_from_code(message.code, message.message, message.param))
        else:
            self.model, self.state = message.model, "ready"
            self._pin_again()  # now: before any request can come
            self._ledger.open()
            event(logger, logging.INFO, "engine_ready", model=self.model.path, description=self.model.description)
            self._settled.set()

    def _fail(self, error: LlmcoreError) -> None:
        self._load_error, self.state = error, "failed"
        self._settled.set()

    def _end_all(self, error: LlmcoreError) -> None:
        self._ledger.end_all(error)
        self._calls.end_all(error)


def _tell_lost(name: str, pinning: asyncio.Future[Any]) -> None:
    """For a prefix that a new process could not pin again. (If that process died too, the next one tries.)"""
    error = pinning.exception()
    if error is not None and not isinstance(error, EngineUnavailableError):
        event(logger, logging.ERROR, "prefix_lost", prefix=name, error=str(error))
