"""Requests for embeddings and scores: texts to tokens, tokens to vectors, a bounded piece of work at a time.

One thread owns it, that of the engine beside which it works; only `interrupt` may be called from others.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from llmcore.embedding.embedder import PASS_TEXTS, Embedder
from llmcore.embedding.pairs import PairFormat
from llmcore.embedding.planner import PassPart, PassPlanner, TextJob
from llmcore.errors import ContextLengthError, InvalidRequestError, LlmcoreError, OverloadedError, UnsupportedError
from llmcore.limits import Limits
from llmcore.llama.context import StepAborted
from llmcore.llama.model import Model

Vectors = npt.NDArray[np.float32]
Text = str | Sequence[int]

# A piece of reading: a few milliseconds of tokenizing.
_READ_CHARACTERS = 32_768
# Weight of the newest pass in the mean time of a token.
_RATE = 0.2
# Between two steps of answers, a pass takes this part of the time that a step may take, but not fewer tokens than that.
_BUSY_SHARE = 1 / 2
_BUSY_TOKENS = 8


@dataclass(eq=False)
class _Job(TextJob):
    """`unread` are texts that are no tokens yet; `param` is the request's name for all of them."""

    unread: deque[Callable[[], Sequence[int]]] = field(default_factory=deque)
    param: str = "input"
    dimensions: int | None = None
    vectors: list[npt.NDArray[np.float32]] = field(default_factory=list)


@dataclass(frozen=True)
class EmbeddingResult:
    """The end of a job: float32[n_texts, width] in the order of its texts, and the tokens that these had; or an error."""

    id: Hashable
    vectors: Vectors | None = None
    n_tokens: int = 0
    error: LlmcoreError | None = None


@dataclass
class EmbedCounters:
    """Fields of EngineStats, since the start."""

    n_embed_passes: int = 0
    n_embed_texts: int = 0
    n_embed_tokens: int = 0
    embed_s: float = 0.0


class EmbeddingQueue:
    """Jobs of one model. Without an embedder every request is refused with a word on what to do."""

    def __init__(
        self,
        model: Model,
        embedder: Embedder | None,
        limits: Limits,
        *,
        dimensions: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`dimensions` is as EngineConfig.embed_dimensions."""
        self._model = model
        self._embedder = embedder
        self._limits = limits
        self._dimensions = dimensions
        self._clock = clock
        self._jobs: dict[Hashable, _Job] = {}
        self._unread: deque[_Job] = deque()
        self._queue = PassPlanner()
        self._token_s = 0.0  # seconds a token takes; 0 while unknown
        self._serving: frozenset[Hashable] = frozenset()
        self._leaving: frozenset[Hashable] = frozenset()  # told by other threads, and only replaced as a whole
        self.counters = EmbedCounters()
        # Told before a pass is computed: the ids of its jobs, and the seconds that it should take (0: not known).
        self.on_pass: Callable[[frozenset[Hashable], float], None] | None = None

    def close(self) -> None:
        """Frees what it owns; jobs end without a word. Safe to call twice."""
        self._jobs.clear()
        if self._embedder is not None:
            self._embedder.close()

    @property
    def pooling(self) -> str:
        return "none" if self._embedder is None else self._embedder.pooling

    @property
    def n_max(self) -> int:
        """Tokens of the longest text."""
        return 0 if self._embedder is None else self._embedder.n_max

    @property
    def n_jobs(self) -> int:
        return len(self._jobs)

    @property
    def has_work(self) -> bool:
        return bool(self._jobs)

    # --- Jobs ---------------------------------------------------------------------------------------------------------

    def read(self, texts: Sequence[Text], *, param: str = "input") -> list[Text]:
        """The texts for submit(), with the tokens of long ones in their place. For any thread. Raises as submit(), and
        ContextLengthError."""
        self._check_embedder()
        return [
            self._named(functools.partial(self._tokens, text), param, index, len(texts))
            if isinstance(text, str) and len(text) > _READ_CHARACTERS
            else text
            for index, text in enumerate(texts)
        ]

    def read_pairs(self, query: str, documents: Sequence[str]) -> list[Text]:
        """The documents for submit_pairs(), as tokens of pairs. For any thread. Raises as submit(), and ContextLengthError."""
        pairs = self._pairs()
        return [
            self._named(functools.partial(self._pair, pairs, query, document), "documents", index, len(documents))
            for index, document in enumerate(documents)
        ]

    def submit(
        self, id: Hashable, texts: Sequence[Text], *, dimensions: int | None = None, param: str = "input"
    ) -> None:
        """Queues texts, or their token ids as they stand. Each gives a vector of length 1, float32[width] or, cut to
        `dimensions` before, float32[dimensions].

        Raises UnsupportedError, InvalidRequestError or OverloadedError; what is found while reading comes with Done.
        """
        embedder = self._check_embedder()
        if embedder.pooling == "rank":
            raise UnsupportedError("this model ranks documents and gives no embeddings: use /v1/rerank, or LLM.rerank")
        self._check_dimensions(dimensions, embedder.width)
        job = _Job(id, param=param, dimensions=dimensions)
        job.unread.extend(functools.partial(self._tokens, text) for text in texts)
        self._admit(job)

    def submit_pairs(self, id: Hashable, query: str, documents: Sequence[Text]) -> None:
        """Queues documents to be scored by how well they answer a query: float32[1] each, the model's own number. Token ids are
        those of a whole pair. Raises as submit()."""
        pairs = self._pairs()
        job = _Job(id, param="documents")
        job.unread.extend(functools.partial(self._pair, pairs, query, document) for document in documents)
        self._admit(job)

    def cancel(self, id: Hashable) -> None:
        """Forgets a job, and what of it is not computed. Does nothing if there is none."""
        job = self._jobs.pop(id, None)
        if job is not None:
            self._queue.remove(job)
            if job in self._unread:
                self._unread.remove(job)

    def interrupt(self, ids: Collection[Hashable]) -> None:
        """Ends the pass that is being computed, if it serves nobody but these jobs, and begins none for them. For other
        threads; the jobs are still to be cancelled."""
        self._leaving = frozenset(ids)
        serving = self._serving
        if serving and serving <= self._leaving and self._embedder is not None:
            self._embedder.abort()

    def _check_embedder(self) -> Embedder:
        if self._embedder is None:
            raise UnsupportedError(
                f"{self._model.path} is no embedding model: its file names no pooling. Serve one that is, or choose how "
                "its vectors are pooled with the option pooling (mean, cls or last)"
            )
        return self._embedder

    def _pairs(self) -> PairFormat:
        if self._check_embedder().pooling != "rank":
            raise UnsupportedError(
                "this model gives embeddings and ranks nothing: serve a reranker (one whose file names pooling rank)"
            )
        return PairFormat(self._model)

    def _check_dimensions(self, dimensions: int | None, width: int) -> None:
        if dimensions is None or dimensions == width:
            return
        known = self._dimensions.split(",") if self._dimensions else []
        if 0 < dimensions < width and (str(dimensions) in known or known == ["any"]):
            return
        able = ", ".join([*(each for each in known if each != "any"), str(width)])
        able = f"1 to {width}" if known == ["any"] else able
        raise InvalidRequestError(f"dimensions: this model gives {able}, not {dimensions}", param="dimensions")

    def _admit(self, job: _Job) -> None:
        if job.id in self._jobs:
            raise InvalidRequestError(f"id {job.id!r} is in use", param="id")
        if not job.unread:
            raise InvalidRequestError(f"{job.param} must not be empty", param=job.param)
        if len(self._jobs) > self._limits.n_waiting:
            message = f"{len(self._jobs)} requests are waiting already"
            raise OverloadedError(message, retry_after_s=self._queue.n_tokens_left * self._token_s)
        self._jobs[job.id] = job
        self._unread.append(job)

    # --- Work ---------------------------------------------------------------------------------------------------------

    def step(self, *, is_busy: bool = False) -> list[EmbeddingResult]:
        """A bounded piece of work: some reading, and one pass. `is_busy`: answers are being generated beside it."""
        for id in self._leaving:
            self.cancel(id)
        done = self._read() if self._unread else []
        if self._queue:
            done += self._pass(is_busy)
        return done

    def _tokens(self, text: Text) -> Sequence[int]:
        if isinstance(text, str):
            self._check_length(text)
            return self._model.tokenize(text)
        self._model.check_tokens(text)
        return text

    def _pair(self, pairs: PairFormat, query: str, document: Text) -> Sequence[int]:
        if not isinstance(document, str):
            return document
        self._check_length(query)
        self._check_length(document)
        return pairs.tokens(query, document)

    def _check_length(self, text: str) -> None:
        """Raises ContextLengthError where the length says enough, before the text is tokenized."""
        n_least, n_max = self._model.tokens_at_least(text), self.n_max
        if n_least > n_max:
            message = f"the text has at least {n_least} tokens; the model takes {n_max}"
            raise ContextLengthError(message, n_prompt=n_least, n_ctx=n_max)

    def _read(self) -> list[EmbeddingResult]:
        """Makes tokens of texts, so many at a time; a job whose texts are all right can be computed then."""
        job = self._unread.popleft()
        n_left = _READ_CHARACTERS
        try:
            while job.unread and n_left > 0:
                tokens = self._next_text(job)
                job.texts.append(tokens)
                n_left -= 4 * len(tokens)
            if job.unread:
                self._unread.append(job)
            else:
                self._enqueue(job)
        except LlmcoreError as error:
            return [self._fail(job, error)]
        return []

    def _next_text(self, job: _Job) -> Sequence[int]:
        """Raises InvalidRequestError or ContextLengthError, naming the text."""
        index, n_texts = len(job.texts), len(job.texts) + len(job.unread)
        param = _place(job.param, index, n_texts)
        tokens = self._named(job.unread.popleft(), job.param, index, n_texts)
        if not tokens:
            raise InvalidRequestError(f"{param} has no tokens", param=param)
        if self._check_embedder().reserve(len(tokens), param):
            self._queue.restart()
        return tokens

    def _named(self, read: Callable[[], Sequence[int]], param: str, index: int, n_texts: int) -> Sequence[int]:
        """Returns the result of reading a text. Raises InvalidRequestError or ContextLengthError, naming the text."""
        try:
            return read()
        except InvalidRequestError as error:
            place = _place(param, index, n_texts)
            raise type(error)(f"{place}: {error.message}", param=place) from None

    def _enqueue(self, job: _Job) -> None:
        n_waiting, n_most = self._queue.n_tokens_left, self._limits.n_waiting_tokens
        excess = n_waiting + job.n_tokens_left - n_most
        if n_most and n_waiting and excess > 0:
            message = f"{n_waiting} tokens of texts are waiting, and these have {job.n_tokens_left} more"
            raise OverloadedError(message, retry_after_s=excess * self._token_s)
        self._queue.add(job)

    def _pass(self, is_busy: bool) -> list[EmbeddingResult]:
        embedder = self._check_embedder()
        parts = self._queue.plan(self._room(embedder, is_busy), PASS_TEXTS, can_split=embedder.can_split)
        embedder.rearm()
        self._serving = frozenset(part.job.id for part in parts)
        started_s = self._clock()
        try:
            if self._serving <= self._leaving:  # told before there was a pass to interrupt
                return []
            if self.on_pass is not None:
                self.on_pass(self._serving, sum(len(part.tokens) for part in parts) * self._token_s)
            vectors = embedder.compute(parts)
        except StepAborted:
            return []
        except LlmcoreError as error:
            return [self._fail(job, error) for job in {id(part.job): part.job for part in parts}.values()]
        finally:
            self._serving = frozenset()
        self._learn(parts, self._clock() - started_s)
        for part, vector in zip(parts, vectors, strict=True):
            if part.is_last:
                assert isinstance(part.job, _Job)
                part.job.vectors.append(self._finished(part.job, vector))
        return [self._finish(job) for job in self._queue.commit(parts)]

    def _room(self, embedder: Embedder, is_busy: bool) -> int:
        """Tokens of the next pass."""
        if not is_busy or not self._token_s:
            return embedder.n_pass
        limit_s = min(self._limits.inter_token_s) * _BUSY_SHARE
        return max(min(_BUSY_TOKENS, embedder.n_pass), min(embedder.n_pass, int(limit_s / self._token_s)))

    def _learn(self, parts: Sequence[PassPart], seconds: float) -> None:
        n_tokens = sum(len(part.tokens) for part in parts)
        token_s = seconds / n_tokens
        self._token_s += (token_s - self._token_s) * (_RATE if self._token_s else 1.0)
        counters = self.counters
        counters.n_embed_passes += 1
        counters.n_embed_tokens += n_tokens
        counters.n_embed_texts += sum(part.is_last for part in parts)
        counters.embed_s += seconds

    def _finished(self, job: _Job, vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self.pooling == "rank":
            return vector[:1]  # of several scores (yes, no) the first one says how well the document fits
        vector = vector[: job.dimensions]
        length = float(np.linalg.norm(vector))
        return vector / np.float32(length) if length > 0 else vector

    def _finish(self, job: TextJob) -> EmbeddingResult:
        assert isinstance(job, _Job)
        del self._jobs[job.id]
        return EmbeddingResult(job.id, np.stack(job.vectors), sum(map(len, job.texts)))

    def _fail(self, job: TextJob, error: LlmcoreError) -> EmbeddingResult:
        self.cancel(job.id)
        return EmbeddingResult(job.id, error=error)


def _place(param: str, index: int, n_texts: int) -> str:
    """One of so many texts, as errors name it."""
    return f"{param}[{index}]" if n_texts > 1 else param
