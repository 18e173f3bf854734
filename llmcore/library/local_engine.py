"""An engine in this process, shared by the threads that use it."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from llmcore.config import EngineConfig
from llmcore.embedding.embedder import Embedder
from llmcore.embedding.job import EmbeddingResult
from llmcore.embedding.queue import EmbeddingQueue
from llmcore.engine.encoder import AnyEngine, open_engine
from llmcore.engine.logits_processor import LogitsProcessor
from llmcore.engine.prompts import TokenizedPrompt
from llmcore.errors import ClosedError, error_from_code
from llmcore.library.response_type import ResponseType
from llmcore.library.stream import Reader, Stream
from llmcore.llama.model_load import LoadProgress
from llmcore.machine.process import Process
from llmcore.machine.threads import decide_threads
from llmcore.messages import Accepted, Failed, Finished, GenerateRequest, Output, Prompt

T = TypeVar("T")


class LocalEngine:
    """An engine, and the outputs that its requests have not taken yet. For any thread.

    A thread that waits for an output steps the engine, for the requests of all threads. `name` stands in error messages.
    """

    def __init__(self, config: EngineConfig, *, progress: LoadProgress | None = None, name: str = "this LLM") -> None:
        """Loads the model. Raises the errors of open_engine()."""
        self._lock = threading.RLock()
        self._outputs: dict[str, deque[Output]] = {}
        self._results: dict[str, EmbeddingResult] = {}
        self._ids = itertools.count()
        self._is_closed = False
        self._process = Process.current
        self._name = name
        self._config = config
        self._token_jobs: EmbeddingQueue | None = None
        self.engine = open_engine(config, progress=progress)

    def close(self) -> None:
        """Frees the model, after the step that another thread computes. Open streams end with ClosedError. Idempotent. Does
        nothing in a process that was forked from this one."""
        if not self._process.is_current:
            return
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._token_jobs is not None:
                self._token_jobs.close()
            self.engine.close()

    def new_id(self) -> str:
        """Returns an id for a request or a job, unique in this engine."""
        return f"llm-{next(self._ids)}"

    def check_process(self) -> None:
        """Raises ForkedError. Called before the lock is taken: in a forked child, the thread that held it may not exist."""
        self._process.check(self._name)

    def submit(
        self,
        request: GenerateRequest,
        outputs: deque[Output],
        *,
        prompt: TokenizedPrompt | None = None,
        logits_processors: tuple[LogitsProcessor, ...] = (),
    ) -> None:
        """Queues a request, whose outputs go to `outputs`; several requests may share one. `prompt` is the result of Engine.read().
        Raises InvalidRequestError, ContextLengthError, OverloadedError or ClosedError; nothing changes then."""
        self.check_process()
        with self._lock:
            self._check_open()
            self.engine.submit(request, prompt=prompt, logits_processors=logits_processors)
            self._outputs[request.request_id] = outputs

    def read(self, prompt: Prompt, prediction: str = "") -> TokenizedPrompt:
        """Renders and tokenizes a request's prompt and prediction. Raises InvalidRequestError, ContextLengthError or
        ClosedError."""
        self.check_process()
        self._check_open()
        return self.engine.read(prompt, prediction)

    def stream(
        self,
        request: GenerateRequest,
        reader: Reader[T],
        response_type: ResponseType | None = None,
        logits_processors: tuple[LogitsProcessor, ...] = (),
    ) -> Stream[T]:
        """Queues a request and returns its answer as a stream of the reader's items. Raises the errors of submit()."""
        id, outputs = request.request_id, deque[Output]()
        self.submit(request, outputs, logits_processors=logits_processors)
        return Stream(lambda: self._next_output(outputs), lambda: self.cancel(id), reader, response_type)

    def _next_output(self, outputs: deque[Output]) -> Output:
        """Returns the next output of a request. Steps the engine, for all open requests, until there is one."""
        self.check_process()
        while True:
            with self._lock:
                self._check_open()
                if outputs:
                    return outputs.popleft()
                self._deliver(self.engine.step())

    def step(self, outputs: deque[Output]) -> list[Output]:
        """Takes all outputs that have come for some requests. If there are none, computes one step first."""
        self.check_process()
        with self._lock:
            self._check_open()
            if not outputs:
                self._deliver(self.engine.step())
            taken = list(outputs)
            outputs.clear()
            return taken

    def cancel(self, request_id: str) -> None:
        """Cancels a request, if it has not ended, and drops its outputs."""
        if not self._process.is_current:
            return
        with self._lock:
            self._outputs.pop(request_id, None)
            if not self._is_closed:
                self.engine.cancel(request_id)

    def _deliver(self, outputs: Sequence[Output]) -> None:
        for output in outputs:
            queue = self._outputs.get(output.request_id)
            if queue is not None and not isinstance(output, Accepted):
                queue.append(output)

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClosedError(f"{self._name} is closed")

    def locked(self, call: Callable[[AnyEngine], T]) -> T:
        """Returns what `call` makes of the engine, between two steps. Raises ClosedError."""
        self.check_process()
        with self._lock:
            self._check_open()
            return call(self.engine)

    def step_until(self, is_done: Callable[[], bool]) -> None:
        """Steps the engine, for all open requests, until a condition holds. Raises ClosedError."""
        while not is_done():
            self.locked(lambda engine: self._deliver(engine.step()))

    def answer_all(self, requests: Sequence[GenerateRequest]) -> list[Finished]:
        """Computes short answers together, as many at a time as the engine has slots, and returns their ends in order. Raises the
        error of the first that fails; the others are cancelled then."""
        waiting, open_ids, ends = deque(requests), set[str](), dict[str, Finished]()
        try:
            while waiting or open_ids:
                while waiting and len(open_ids) < self.engine.limits.n_running:
                    open_ids.add(waiting[0].request_id)
                    self.submit(waiting.popleft(), deque())
                self.step_until(lambda: any(self._outputs[id] for id in open_ids))
                for id in [id for id in open_ids if self._outputs[id]]:
                    ends.update((id, _whole(output)) for output in self._outputs[id])
                    open_ids.remove(id)
                    self.cancel(id)
        finally:
            for id in open_ids:
                self.cancel(id)
        return [ends[each.request_id] for each in requests]

    def token_embeddings(self) -> EmbeddingQueue:
        """Returns a queue for embeddings of single tokens. It has a context of its own, which is opened by the first call. Raises
        InsufficientMemoryError."""
        with self._lock:
            self._check_open()
            if self._token_jobs is None:
                config, engine = self._config, self.engine
                threads = decide_threads(config.threads, config.threads_batch).counts
                embedder = Embedder(
                    engine.model, "none", threads=threads, n_ctx=config.n_ctx, flash_attn=config.flash_attn
                )
                self._token_jobs = EmbeddingQueue(engine.model, embedder, engine.limits)
            return self._token_jobs

    def compute(
        self, submit: Callable[[EmbeddingQueue, str], None], jobs: EmbeddingQueue | None = None
    ) -> npt.NDArray[np.float32]:
        """Submits a job under a new id to a queue (the engine's by default), and steps the jobs of all threads until its
        vectors are computed. Returns float32[n_texts, n_embd]; for embeddings of single tokens, float32[n_tokens, n_embd]."""
        self.check_process()
        jobs, id = jobs or self.engine.embeddings, self.new_id()
        with self._lock:
            self._check_open()
            submit(jobs, id)
        try:
            while id not in self._results:
                with self._lock:
                    self._check_open()
                    self._results.update((str(done.id), done) for done in jobs.step(is_busy=self.engine.has_work))
        except BaseException:
            with self._lock:
                jobs.cancel(id)
            raise
        result = self._results.pop(id)
        if result.error is not None:
            raise result.error
        assert result.vectors is not None
        return result.vectors


def _whole(output: Output) -> Finished:
    """Returns the end of an answer of one token. Raises the error of a request that failed."""
    if isinstance(output, Failed):
        raise error_from_code(output.code, output.message, output.param)
    assert isinstance(output, Finished), "an answer of one token has one output"
    return output
