"""Embeddings of texts, for models that give them."""

from __future__ import annotations

import numpy as np

from llmcore import ffi
from llmcore.batch import Batch
from llmcore.context import Context, ContextParams
from llmcore.errors import ContextLengthError, InvalidRequestError
from llmcore.model import Model

# Attention without a causal mask needs a text in one pass; its scores grow with the square of this.
N_TOKENS_MAX = 2048


class Embedder:
    """Owns a context for embeddings. The model must outlive it."""

    def __init__(self, model: Model, *, threads: int) -> None:
        self._model = model
        self._n_max = min(model.n_ctx_train or N_TOKENS_MAX, N_TOKENS_MAX)
        self._context = Context(
            model,
            ContextParams(
                n_ctx=self._n_max,
                n_batch=self._n_max,
                n_ubatch=self._n_max,
                threads=threads,
                threads_batch=threads,
                embeddings=True,
            ),
        )
        self._batch = Batch(self._n_max)

    def close(self) -> None:
        """Frees the context. Safe to call twice."""
        self._context.close()

    def embed(self, text: str) -> ffi.Float32Array:
        """float32[n_embd_out] of length 1, pooled as the model's file says.

        Raises UnsupportedError if the file names no pooling, ContextLengthError if the text is too long.
        """
        tokens = self._model.tokenize(text)
        if not tokens:
            raise InvalidRequestError("a text without tokens has no embedding", param="input")
        if len(tokens) > self._n_max:
            raise ContextLengthError(
                f"the text has {len(tokens)} tokens, the model takes {self._n_max}",
                n_prompt=len(tokens),
                n_ctx=self._n_max,
                param="input",
            )
        self._batch.clear()
        self._batch.add(0, 0, tokens, wants_logits=True)
        self._batch.wants_logits[: len(tokens)] = 1  # pooling takes all of them
        if self._model.has_decoder:
            self._context.clear()
        self._context.decode(self._batch)
        vector = self._context.embedding(0)
        length = float(np.linalg.norm(vector))
        return vector / np.float32(length) if length > 0 else vector
