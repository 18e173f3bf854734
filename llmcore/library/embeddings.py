"""Vectors of texts: the arguments of LLM.embed() made into jobs of an embedding queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmcore.embedding.queue import EmbeddingQueue
from llmcore.errors import InvalidRequestError
from llmcore.library.checks import sequence_argument, truth
from llmcore.library.local_engine import LocalEngine
from llmcore.llama.model import Model
from llmcore.protocol.checks import checked
from llmcore.protocol.commands import EmbedCommand

Vectors = npt.NDArray[np.float32]


def embed(
    local: LocalEngine, texts: Any, *, dimensions: Any, normalize: Any, truncate: Any, pooling: Any
) -> Vectors | list[Vectors]:
    """Returns what LLM.embed() returns for several texts. Raises InvalidRequestError, naming the argument, and its errors."""
    wanted = checked(EmbedCommand(0, sequence_argument(texts, "texts"), dimensions))
    is_normalized, is_cut = truth(normalize, "normalize"), truth(truncate, "truncate")
    if pooling not in (None, "none"):
        problem = f'pooling must be None or "none", got {pooling!r}: other poolings are an option of LLM()'
        raise InvalidRequestError(problem, param="pooling")
    if pooling == "none" and dimensions is not None:
        raise InvalidRequestError("dimensions are those of a text's vector: not with pooling none", param="dimensions")
    local.check_process()
    jobs = local.token_embeddings() if pooling == "none" else local.engine.embeddings
    given: Sequence[str | Sequence[int]] = wanted.texts
    if is_cut or pooling == "none":
        given = [_tokens(local.engine.model, each, jobs, is_cut=is_cut) for each in given]

    def submit(queue: EmbeddingQueue, id: str) -> None:
        queue.submit(id, given, dimensions=wanted.dimensions, param="texts", normalize=is_normalized)

    rows = local.compute(submit, jobs)
    if pooling != "none":
        return rows
    ends = np.cumsum([len(each) for each in given])
    return np.split(rows, ends[:-1])


def _tokens(model: Model, text: str | Sequence[int], jobs: EmbeddingQueue, *, is_cut: bool) -> Sequence[int]:
    """Returns the tokens of a text: as many as the model takes, if it is to be cut. A text keeps the special token at its end."""
    tokens = model.tokenize(text) if isinstance(text, str) else text
    n_max = jobs.n_max
    if not (is_cut and 0 < n_max < len(tokens)):
        return tokens
    ends = isinstance(text, str) and model.is_control(tokens[-1])
    return [*tokens[: n_max - 1], tokens[-1]] if ends else tokens[:n_max]
