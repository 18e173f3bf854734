"""AsyncLLM, the library's class for asyncio: a model in this process or in a supervised child, ready for prompts."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from llmcore.errors import ClosedError, InvalidRequestError, OverloadedError
from llmcore.library.async_answering import AsyncAnswer, AsyncAnswering
from llmcore.library.async_lists import answer_list
from llmcore.library.async_stream import AsyncStream, OpenAnswer
from llmcore.library.checks import sequence_argument, truth
from llmcore.library.engine_options import engine_config
from llmcore.library.events import EventReader, TextReader
from llmcore.library.jobs import Job, Jobs, StreamKind, stream_kind
from llmcore.library.lists import OPEN_PER_SLOT
from llmcore.library.options import EngineOptions
from llmcore.library.sampling_defaults import PLAIN_DEFAULTS, model_sampling
from llmcore.library.stream import Reader
from llmcore.machine.process import Process
from llmcore.messages import EngineStats, GenerateRequest, ModelInfo
from llmcore.protocol.replies import VectorsReply
from llmcore.sampling import SamplingParams
from llmcore.worker.client import AsyncEngine
from llmcore.worker.generation import Generation
from llmcore.worker.thread import WorkerThread

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")

# Options that bound how much may wait. Who gives one of them wants to be refused beyond it.
_BOUNDS = {"n_waiting_max", "n_waiting_tokens_max", "ttft_max_s"}
# Longest pause in seconds before a request that the engine had no room for is sent again.
_PAUSE_MAX_S = 0.5


class AsyncLLM(AsyncAnswering):
    """A model for asyncio. All methods belong to one event loop.

    Args:
        model, pull, **options: as for LLM.
        isolated: run the model in a child process, which is started again if native code ends it: requests whose answer has
            begun then end with EngineDiedError, the others are kept. Otherwise a thread of this process computes.

    Raises the errors of LLM: those of the arguments at once, those of the model file when it is loaded.

    >>> async with AsyncLLM() as llm:                                                   # doctest: +SKIP
    ...     print(await llm.chat([{"role": "user", "content": "Hello!"}]))
    ...     async for piece in llm.generate("Once upon a time", max_tokens=32, stream=True):
    ...         print(piece, end="", flush=True)
    """

    def __init__(
        self,
        model: str | bytes | os.PathLike[str] | None = None,
        *,
        isolated: bool = False,
        pull: bool = False,
        **options: Unpack[EngineOptions],
    ) -> None:
        config = engine_config(model, options, pull=pull)
        is_isolated = truth(isolated, "isolated")
        if not is_isolated:  # a thread cannot be killed, so its heartbeat is not watched
            config = dataclasses.replace(config, worker_silent_s=0)
        # The engine underneath: pins, rendering, the state of the worker.
        self.engine = AsyncEngine(config, make_worker=None if is_isolated else WorkerThread)
        self.default_sampling = PLAIN_DEFAULTS
        self._model_path = config.model_path
        self._is_bounded = bool(_BOUNDS & options.keys())
        self._n_open_max = OPEN_PER_SLOT * config.n_slots
        self._ids = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._process = Process.current

    async def load(self) -> ModelInfo:
        """Loads the model, if that was not done, and returns facts about it. `async with` does this, or else the first call. Raises
        ModelError or a subclass."""
        self._process.check("this AsyncLLM")
        if self._is_closed:
            raise ClosedError("this AsyncLLM is closed")
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        elif self._loop is not asyncio.get_running_loop():
            raise ClosedError("this AsyncLLM belongs to another event loop")
        if self.engine.model is None:
            await self.engine.start()
            info = await self.engine.wait_ready()
            self.default_sampling = model_sampling(self._model_path, info.sampling_metadata)
            return info
        return self.engine.model

    async def close(self) -> None:
        """Ends what is running, and frees the model. Idempotent."""
        self._is_closed = True
        await self.engine.stop()

    async def __aenter__(self) -> AsyncLLM:
        try:
            await self.load()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- Answers ------------------------------------------------------------------------------------------------------

    def _answer(self, make_jobs: Callable[[SamplingParams], Jobs], stream: StreamKind) -> AsyncAnswer:
        kind = stream_kind(stream)
        if kind == "events":
            return AsyncStream(lambda: self._open(make_jobs, lambda job: EventReader(job.arguments.response_type)))
        if kind:
            return AsyncStream(lambda: self._open(make_jobs, lambda job: TextReader()))
        return self._whole(make_jobs)

    async def _whole(self, make_jobs: Callable[[SamplingParams], Jobs]) -> Any:
        await self.load()
        jobs = self._jobs(make_jobs)
        answers = await answer_list(self._submit, jobs, self._new_id, self._n_open_max)
        return answers if jobs.is_list else answers[0]

    async def _open(
        self, make_jobs: Callable[[SamplingParams], Jobs], make_reader: Callable[[Job], Reader[T]]
    ) -> OpenAnswer[T]:
        await self.load()
        [job] = self._jobs(make_jobs).jobs
        [request] = job.requests(self._new_id)
        try:
            generation = await self._submit(request)
        except InvalidRequestError as error:
            raise job.rename(error) from None
        return OpenAnswer(generation, make_reader(job), job.arguments.response_type)

    def _jobs(self, make_jobs: Callable[[SamplingParams], Jobs]) -> Jobs:
        jobs = make_jobs(self.default_sampling)
        if any(each.arguments.logits_processors for each in jobs.jobs):
            raise InvalidRequestError(
                "logits_processor needs LLM: AsyncLLM computes in another thread or process", param="logits_processor"
            )
        return jobs

    async def _submit(self, request: GenerateRequest) -> Generation:
        """Submits a request. Waits while the engine has no room for it, unless the caller has given bounds."""
        while True:
            try:
                return await self.engine.generate(request)
            except OverloadedError as error:
                if self._is_bounded:
                    raise
                await asyncio.sleep(min(error.retry_after_s, _PAUSE_MAX_S))

    def _new_id(self) -> str:
        return f"llm-{next(self._ids)}"

    # --- Tokens and vectors -------------------------------------------------------------------------------------------

    async def tokenize(self, text: str, *, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids of a text; see LLM.tokenize."""
        await self.load()
        return await self.engine.tokenize(text, add_special=add_special, parse_special=parse_special)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """Text of tokens, special ones shown."""
        await self.load()
        return await self.engine.detokenize(tokens)

    async def embed(
        self, texts: str | Sequence[str | Sequence[int]], *, dimensions: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Embeddings of texts, or of token ids; see LLM.embed."""
        await self.load()
        several = (texts,) if isinstance(texts, str) else sequence_argument(texts, "texts")
        rows = _rows(await self.engine.embed(several, dimensions=dimensions))
        return cast("npt.NDArray[np.float32]", rows[0]) if isinstance(texts, str) else rows

    async def rerank(self, query: str, documents: Sequence[str]) -> npt.NDArray[np.float32]:
        """Scores how well each document answers the query; see LLM.rerank."""
        await self.load()
        return _rows(await self.engine.rerank(query, sequence_argument(documents, "documents")))[:, 0]

    # --- About the engine ---------------------------------------------------------------------------------------------

    async def stats(self) -> EngineStats:
        """Counts and gauges of the engine."""
        await self.load()
        return await self.engine.stats()


def _rows(reply: VectorsReply) -> npt.NDArray[np.float32]:
    return np.frombuffer(reply.data, "<f4").astype(np.float32).reshape(-1, reply.width)
