"""Async access to an engine in a supervised worker process.

If the process ends unexpectedly, or misses its heartbeat, requests whose answer has begun end with EngineDiedError, everything
else is kept (request_table.py), and the process is started again with a growing pause between attempts. A failure to load at
the start would come again, so the engine stays `failed`; so does one whose process ends twice before it was ever ready. This
module loads no native code.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from typing import Any, Literal

from llmcore.config import EngineConfig
from llmcore.errors import EngineDiedError, EngineUnavailableError, LlmcoreError, ModelLoadDiedError, error_from_code
from llmcore.log import event
from llmcore.machine.process import Process
from llmcore.messages import ChatPrompt, EngineStats, GenerateRequest, ModelInfo, PrefixInfo, PrefixSpec
from llmcore.protocol.checks import checked, checked_request
from llmcore.protocol.commands import (
    CallCommand,
    DetokenizeCommand,
    EmbedCommand,
    GetStatsCommand,
    InspectCommand,
    RenderCommand,
    RerankCommand,
    TokenizeChatCommand,
    TokenizeCommand,
)
from llmcore.protocol.replies import LoadFailedReply, LoadingReply, ReadyReply, Reply, StepReply, VectorsReply
from llmcore.scheduling import refusals
from llmcore.worker.calls import Calls
from llmcore.worker.generation import Generation
from llmcore.worker.prefix_calls import PrefixCalls
from llmcore.worker.quarantine import digest
from llmcore.worker.request_table import RequestTable
from llmcore.worker.supervisor import MakeWorker, Supervisor
from llmcore.worker.vector_calls import VectorCalls

logger = logging.getLogger(__name__)

# No other process is started after this many ended before one was ever ready.
LOADS_DIED_MAX = 2

EngineState = Literal["loading", "ready", "restarting", "failed", "stopped"]


class AsyncEngine:
    """An engine in a worker process. All methods belong to one event loop, and to the process that made it: in a process that is
    forked from that one they raise ForkedError.

    Arguments are checked before anything is sent. InvalidRequestError names a field that the worker could not read.
    """

    def __init__(
        self,
        config: EngineConfig,
        *,
        log_level: str | None = None,
        make_worker: MakeWorker | None = None,
    ) -> None:
        """`make_worker` makes what runs the engine: by default a process, else a thread (worker/thread.py)."""
        self._supervisor = Supervisor(config, log_level, self._on_reply, self._on_lost, self._on_exit, make_worker)
        self._requests = RequestTable(config, self._supervisor.send, self._on_request_cancelled)
        self._calls = Calls(self._supervisor.send)
        self._vectors = VectorCalls(self._calls, self._requests, self._wait_for_worker, self._supervisor.send)
        self._prefixes = PrefixCalls(self._calls, self._next_call, self._start)
        self._config = config
        self._process = Process.current
        self._refusals: refusals.Refusals = ()  # from the engine's last StepReply
        self._n_waiting = 0  # calls that wait for the next worker
        self._load_error: LlmcoreError | None = None
        self._n_loads_died = 0  # before the first worker that was ready
        self._settled = asyncio.Event()  # ready, failed or stopped
        self.state: EngineState = "loading"
        self.model: ModelInfo | None = None
        self.load_progress = 0.0
        # Called for each request that was cancelled, with the seconds from the cancel to its end.
        self.on_cancelled: Callable[[float], None] | None = None

    @property
    def n_restarts(self) -> int:
        return self._supervisor.n_restarts

    @property
    def is_warm(self) -> bool:
        """False while a new worker computes again what was pinned in the one before. (Those of the prefix file are computed
        before it is ready.)"""
        return self._prefixes.is_warm

    # --- Start and stop -----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts the worker and returns; loading goes on in the background."""
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
        """Ends the worker; what is running ends with EngineUnavailableError. Idempotent. Does nothing in a process that was
        forked from the engine's."""
        if not self._process.is_current:
            return
        self.state = "stopped"
        self._settled.set()
        self._fail_all(EngineUnavailableError("the engine is stopping"))
        await self._supervisor.stop()

    async def __aenter__(self) -> AsyncEngine:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # --- Requests -----------------------------------------------------------------------------------------------------

    async def generate(self, request: GenerateRequest) -> Generation:
        """Submits a request and waits until it is admitted: also for the next worker, if this one is gone.

        Raises InvalidRequestError, ContextLengthError, PoisonousError, OverloadedError, EngineUnavailableError,
        RequestTimeoutError or EngineDiedError.
        """
        self._check_process()
        request = checked_request(request)
        if self.state != "restarting":
            self._check_available()
        refusals.check(self._refusals, request.priority)
        generation = self._requests.submit(request)
        try:
            await generation.accepted()
        except BaseException:
            await generation.aclose()
            raise
        return generation

    async def cancel(self, request_id: str) -> bool:
        """Cancels a request. Its reader gets Finished with reason "cancelled", or the end that was on its way already;
        RequestCancelledError if there is no worker at this moment.

        Returns False if there is no request of that id, or it is not read any more.
        """
        self._check_process()
        return isinstance(request_id, str) and self._requests.cancel(request_id)

    # --- Calls --------------------------------------------------------------------------------------------------------

    async def pin(self, spec: PrefixSpec) -> PrefixInfo:
        """Computes a prefix and keeps it, also in the next worker if this one ends. Returns once it is computed.

        Raises InvalidRequestError, ContextLengthError, OverloadedError or EngineUnavailableError; then what was pinned
        under that name before stays.
        """
        return await self._prefixes.pin(spec)

    async def unpin(self, name: str) -> None:
        """Lets a prefix go. Raises PrefixMissingError."""
        await self._prefixes.unpin(name)

    async def prefixes(self) -> list[PrefixInfo]:
        """All pinned prefixes, those of the configuration's prefix file included."""
        return await self._prefixes.list_all()

    async def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text; see Model.tokenize."""
        return list(await self._start(checked(TokenizeCommand(self._next_call(), text, add_special, parse_special))))

    async def detokenize(self, tokens: Tokens[int]) -> str:
        """Text of tokens, special ones shown. Raises InvalidRequestError for an id outside the vocabulary."""
        command = checked(DetokenizeCommand(self._next_call(), tokens))  # type: ignore[arg-type]  # checked
        return str(await self._start(command))

    async def render(self, prompt: ChatPrompt) -> str:
        """Messages as the chat template writes them. Raises InvalidRequestError."""
        return str(await self._start(checked(RenderCommand(self._next_call(), prompt))))

    async def tokenize_chat(self, prompt: ChatPrompt) -> list[int]:
        """Token ids of messages as the prompt of a request. Raises InvalidRequestError."""
        return list(await self._start(checked(TokenizeChatCommand(self._next_call(), prompt))))

    async def embed(self, texts: Tokens[str | Tokens[int]], *, dimensions: int | None = None) -> VectorsReply:
        """Embeddings of texts, or of token ids as they stand. Cancelling ends what is not computed yet.

        Raises UnsupportedError, InvalidRequestError, ContextLengthError, PoisonousError, OverloadedError or
        EngineUnavailableError.
        """
        command = checked(EmbedCommand(0, texts, dimensions))  # type: ignore[arg-type]  # checked
        return await self._vectors.compute(command)

    async def rerank(self, query: str, documents: Tokens[str]) -> VectorsReply:
        """Scores of documents, of width 1. As embed()."""
        command = checked(RerankCommand(0, query, documents))  # type: ignore[arg-type]  # checked
        return await self._vectors.compute(command)

    async def stats(self) -> EngineStats:
        """Counts and gauges of the engine."""
        reply: EngineStats = await self._calls.start(GetStatsCommand(self._next_call()))
        return reply

    async def inspect(self) -> bytes:
        """JSON of the engine's state: slots, tree, queue, host tier and cost model, without text or tokens."""
        return bytes(await self._calls.start(InspectCommand(self._next_call())))

    def _start(self, call: CallCommand) -> asyncio.Future[Any]:
        """Starts a checked call that runs native code. Raises PoisonousError."""
        self._requests.check_quarantine(call, f"call {call.call_id}")
        return self._calls.start(call)

    def _next_call(self) -> int:
        """Id of the next call. Raises EngineUnavailableError."""
        self._check_available()
        return self._calls.next_id()

    # --- Availability -------------------------------------------------------------------------------------------------

    async def _wait_for_worker(self) -> None:
        """Waits for the next worker, if there is none. Raises EngineUnavailableError if there will be none, if it does not come
        in time, or if too many calls wait for it already."""
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

    # --- Callbacks ----------------------------------------------------------------------------------------------------

    def _on_reply(self, reply: Reply) -> None:
        if isinstance(reply, StepReply):
            self._refusals = reply.refusals
            self._requests.deliver(reply.outputs)
        elif isinstance(reply, LoadingReply):
            self.load_progress = reply.progress
        elif isinstance(reply, ReadyReply):
            self._on_ready(reply)
        elif isinstance(reply, LoadFailedReply):
            self._on_load_failed(reply)
        else:
            self._calls.deliver(reply)

    def _on_ready(self, reply: ReadyReply) -> None:
        if self.state == "stopped":
            return
        self.model, self.state = reply.model, "ready"
        self._prefixes.pin_again()  # before any request is sent
        self._requests.resume()
        event(logger, logging.INFO, "engine_ready", model=self.model.path, description=self.model.description)
        self._settled.set()

    def _on_load_failed(self, reply: LoadFailedReply) -> None:
        if self.state == "stopped":
            return
        if self.model is not None:  # the model was loaded before: the cause, most likely a lack of memory, may pass
            event(logger, logging.ERROR, "reload_failed", code=reply.code, message=reply.message)
            return
        self._fail(error_from_code(reply.code, reply.message, reply.param))

    def _on_lost(self, ids_in_work: set[str | int]) -> bool:
        """Ends or keeps what the worker had, which is gone and worked on these ids. False: no other worker is to be started."""
        self._refusals = ()
        if not self._process.is_current:
            self.state = "stopped"
            self._settled.set()
        if self.state in ("loading", "ready"):
            self.state = "restarting"
            self._settled.clear()
        if self.state != "restarting":
            self._fail_all(EngineUnavailableError(f"the engine is {self.state}"))
            return False
        calls = (self._calls.find(id) for id in ids_in_work if isinstance(id, int))
        n_ended, n_kept = self._requests.lose_worker(ids_in_work, [digest(call) for call in calls if call is not None])
        self._calls.fail_all(EngineDiedError("the engine's process ended while this request was running"))
        if n_ended or n_kept:
            event(logger, logging.ERROR, "requests_lost", n_ended=n_ended, n_kept=n_kept)
        return True

    def _on_exit(self, cause: str) -> bool:
        """Counts the ends of workers before one was ever ready. False: no other worker is to be started. Once one was ready, what
        is wrong may pass."""
        if self.state in ("failed", "stopped"):
            return False
        if self.model is None:
            self._n_loads_died += 1
            if self._n_loads_died >= LOADS_DIED_MAX:
                message = (
                    f"loading {self._config.model_path} ended the engine's process {self._n_loads_died} times: {cause}"
                )
                self._fail(ModelLoadDiedError(message, param="model_path"))
                self._fail_all(EngineUnavailableError(message))
                return False
        return True

    def _on_request_cancelled(self, seconds: float) -> None:
        if self.on_cancelled is not None:
            self.on_cancelled(seconds)

    def _fail(self, error: LlmcoreError) -> None:
        self._load_error, self.state = error, "failed"
        self._settled.set()

    def _fail_all(self, error: LlmcoreError) -> None:
        self._requests.fail_all(error)
        self._calls.fail_all(error)
