"""A request for vectors, and its result."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from llmcore.embedding.planner import TextJob
from llmcore.errors import LlmcoreError

Vectors = npt.NDArray[np.float32]


@dataclass(eq=False)
class EmbeddingJob(TextJob):
    """A request in the queue.

    Args:
        unread: functions that return the tokens of the texts that are not tokenized yet.
        param: the request's field with the texts, for errors.
        dimensions: length of the vectors; None for the model's.
        normalize: each vector gets the length 1.
        vectors: of the texts that are computed; for single tokens (pooling "none"), float32[n_tokens, width] of each text.
    """

    unread: deque[Callable[[], Sequence[int]]] = field(default_factory=deque)
    param: str = "input"
    dimensions: int | None = None
    normalize: bool = True
    vectors: list[Vectors] = field(default_factory=list)


@dataclass(frozen=True)
class EmbeddingResult:
    """The result of a job: float32[n_texts, width] in the order of its texts (with pooling "none" float32[n_tokens, width]),
    and the number of their tokens; or an error."""

    id: Hashable
    vectors: Vectors | None = None
    n_tokens: int = 0
    error: LlmcoreError | None = None
