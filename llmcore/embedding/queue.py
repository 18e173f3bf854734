"""Queue of requests for embeddings and scores. Its owner calls step(), each time for a bounded amount of work.

The engine's thread owns it. Only `read`, `read_pairs` and `interrupt` may be called from other threads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence

import numpy as np

from llmcore.embedding.counters import EmbedCounters
from llmcore.embedding.embedder import PASS_TEXTS, Embedder
from llmcore.embedding.job import EmbeddingJob, EmbeddingResult, Vectors
from llmcore.embedding.planner import PassPart, PassPlanner, TextJob
from llmcore.embedding.text_reader import READ_CHARACTERS, Text, TextReader, place_of
from llmcore.errors import InvalidRequestError, LlmcoreError, OverloadedError, UnsupportedError
from llmcore.limits import Limits
from llmcore.llama.context import StepAborted
from llmcore.llama.model import Model

# Weight of the newest pass in the mean time per token.
_RATE = 0.2
# While answers are generated, a pass takes at most this share of the time between two tokens, but has at least _BUSY_TOKENS.
_BUSY_SHARE = 1 / 2
_BUSY_TOKENS = 8


class EmbeddingQueue:
    """Jobs of one model. Without an embedder, every request raises UnsupportedError.

    Args:
        dimensions: lengths of vectors that requests may ask for, as in EngineConfig.embed_dimensions.
    """

    def __init__(
        self,
        model: Model,
        embedder: Embedder | None,
        limits: Limits,
        *,
        dimensions: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._embedder = embedder
        self._reader = TextReader(model, embedder)
        self._limits = limits
        self._dimensions = dimensions
        self._clock = clock
        self._jobs: dict[Hashable, EmbeddingJob] = {}
        self._unread: deque[EmbeddingJob] = deque()
        self._queue = PassPlanner()
        self._token_s = 0.0  # mean seconds per token; 0 while unknown
        self._computing: frozenset[Hashable] = frozenset()  # ids of the jobs in the current pass
        self._interrupted: frozenset[Hashable] = frozenset()  # set by other threads, and only replaced as a whole
        self.counters = EmbedCounters()
        # Called before a pass with the ids of its jobs, and its expected seconds (0: unknown).
        self.on_pass: Callable[[frozenset[Hashable], float], None] | None = None

    def close(self) -> None:
        """Frees the embedder and drops all jobs without a result. Safe to call twice."""
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
        """Returns the texts for submit(), with tokens in place of long texts. Thread-safe. Raises as submit(), and
        ContextLengthError."""
        return self._reader.read_long(texts, param)

    def read_pairs(self, query: str, documents: Sequence[str]) -> list[Text]:
        """Returns the documents for submit_pairs(), as tokens of pairs. Thread-safe. Raises as submit(), and
        ContextLengthError."""
        return self._reader.read_pairs(query, documents)

    def submit(
        self,
        id: Hashable,
        texts: Sequence[Text],
        *,
        dimensions: int | None = None,
        param: str = "input",
        normalize: bool = True,
    ) -> None:
        """Queues texts, or their token ids. The result has a vector for each: float32[width], or float32[dimensions] if it is to be
        cut (before normalization, which makes its length 1).

        Raises UnsupportedError, InvalidRequestError or OverloadedError. Errors found while tokenizing come with the result.
        """
        embedder = self._reader.embedder()
        if embedder.pooling == "rank":
            raise UnsupportedError("this model ranks documents and gives no embeddings")
        self._check_dimensions(dimensions, embedder.width)
        self._admit(
            EmbeddingJob(id, param=param, dimensions=dimensions, unread=self._reader.later(texts), normalize=normalize)
        )

    def submit_pairs(self, id: Hashable, query: str, documents: Sequence[Text]) -> None:
        """Queues documents to be scored by how well they answer a query: float32[1] each, the model's own number. Token ids are
        those of a whole pair. Raises as submit()."""
        self._admit(EmbeddingJob(id, param="documents", unread=self._reader.pairs_later(query, documents)))

    def cancel(self, id: Hashable) -> None:
        """Drops a job without a result. Does nothing if there is none."""
        job = self._jobs.pop(id, None)
        if job is not None:
            self._queue.remove(job)
            if job in self._unread:
                self._unread.remove(job)

    def interrupt(self, ids: Collection[Hashable]) -> None:
        """Ends the current pass if all its jobs are among these, and prevents new ones for them. Thread-safe. The jobs are still
        to be cancelled."""
        self._interrupted = frozenset(ids)
        computing = self._computing
        if computing and computing <= self._interrupted and self._embedder is not None:
            self._embedder.abort()

    def _check_dimensions(self, dimensions: int | None, width: int) -> None:
        if dimensions is None or dimensions == width:
            return
        known = self._dimensions.split(",") if self._dimensions else []
        if 0 < dimensions < width and (str(dimensions) in known or known == ["any"]):
            return
        able = ", ".join([*(each for each in known if each != "any"), str(width)])
        able = f"1 to {width}" if known == ["any"] else able
        raise InvalidRequestError(f"dimensions: this model gives {able}, not {dimensions}", param="dimensions")

    def _admit(self, job: EmbeddingJob) -> None:
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
        """Tokenizes some texts and computes one pass. Returns the jobs that are finished.

        Args:
            is_busy: answers are being generated in the same thread, so the pass must be short.
        """
        for id in self._interrupted:
            self.cancel(id)
        done = self._read() if self._unread else []
        if self._queue:
            done += self._compute_pass(is_busy)
        return done

    def _read(self) -> list[EmbeddingResult]:
        """Tokenizes texts of one job, about READ_CHARACTERS at most. The job is queued when all its texts are tokenized."""
        job = self._unread.popleft()
        n_left = READ_CHARACTERS
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

    def _next_text(self, job: EmbeddingJob) -> Sequence[int]:
        """Tokenizes the next text. Raises InvalidRequestError or ContextLengthError, naming the text."""
        index, n_texts = len(job.texts), len(job.texts) + len(job.unread)
        param = place_of(job.param, index, n_texts)
        tokens = self._reader.read_named(job.unread.popleft(), job.param, index, n_texts)
        if not tokens:
            raise InvalidRequestError(f"{param} has no tokens", param=param)
        if self._reader.embedder().reserve(len(tokens), param):
            self._queue.restart()
        return tokens

    def _enqueue(self, job: EmbeddingJob) -> None:
        n_waiting, n_most = self._queue.n_tokens_left, self._limits.n_waiting_tokens
        excess = n_waiting + job.n_tokens_left - n_most
        if n_most and n_waiting and excess > 0:
            message = f"{n_waiting} tokens of texts are waiting, and these have {job.n_tokens_left} more"
            raise OverloadedError(message, retry_after_s=excess * self._token_s)
        self._queue.add(job)

    def _compute_pass(self, is_busy: bool) -> list[EmbeddingResult]:
        embedder = self._reader.embedder()
        parts = self._queue.plan(self._n_pass(embedder, is_busy), PASS_TEXTS, can_split=embedder.can_split)
        embedder.rearm()
        self._computing = frozenset(part.job.id for part in parts)
        started_s = self._clock()
        try:
            if self._computing <= self._interrupted:  # interrupted before the pass began
                return []
            if self.on_pass is not None:
                self.on_pass(self._computing, sum(len(part.tokens) for part in parts) * self._token_s)
            vectors = embedder.compute(parts)
        except StepAborted:
            return []
        except LlmcoreError as error:
            return [self._fail(job, error) for job in {id(part.job): part.job for part in parts}.values()]
        finally:
            self._computing = frozenset()
        self._record(parts, self._clock() - started_s)
        for part, vector in zip(parts, vectors, strict=True):
            if part.is_last:
                assert isinstance(part.job, EmbeddingJob)
                part.job.vectors.append(self._normalized(part.job, vector))
        return [self._finish(job) for job in self._queue.commit(parts)]

    def _n_pass(self, embedder: Embedder, is_busy: bool) -> int:
        """Returns the greatest number of tokens of the next pass."""
        if not is_busy or not self._token_s:
            return embedder.n_pass
        limit_s = min(self._limits.inter_token_s) * _BUSY_SHARE
        return max(min(_BUSY_TOKENS, embedder.n_pass), min(embedder.n_pass, int(limit_s / self._token_s)))

    def _record(self, parts: Sequence[PassPart], seconds: float) -> None:
        token_s = seconds / sum(len(part.tokens) for part in parts)
        self._token_s += (token_s - self._token_s) * (_RATE if self._token_s else 1.0)
        self.counters.add(parts, seconds)

    def _normalized(self, job: EmbeddingJob, vector: Vectors) -> Vectors:
        if self.pooling == "rank":
            return vector[:1]  # the first of several scores (yes, no) is the relevance
        vector = vector[..., : job.dimensions]
        if not job.normalize:
            return vector
        lengths = np.linalg.norm(vector, axis=-1, keepdims=True)
        normalized: Vectors = vector / np.where(lengths > 0, lengths, np.float32(1))
        return normalized

    def _finish(self, job: TextJob) -> EmbeddingResult:
        assert isinstance(job, EmbeddingJob)
        del self._jobs[job.id]
        joined = np.concatenate(job.vectors) if self.pooling == "none" else np.stack(job.vectors)
        return EmbeddingResult(job.id, joined, sum(map(len, job.texts)))

    def _fail(self, job: TextJob, error: LlmcoreError) -> EmbeddingResult:
        self.cancel(job.id)
        return EmbeddingResult(job.id, error=error)
