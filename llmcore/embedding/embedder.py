"""Computes embeddings and scores of texts, one pass at a time, in a context of its own; planner.py plans the passes."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from llmcore.batch import Batch
from llmcore.embedding.planner import PassPart
from llmcore.errors import ContextLengthError, InsufficientMemoryError, UnsupportedError
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.arrays import Float32Array
from llmcore.llama.model import Model
from llmcore.log import event

logger = logging.getLogger(__name__)

# First size of the context in tokens. Longer texts are rare: the context grows when the first one arrives.
_WINDOW_FIRST = 512
# Bounds on a pass that several texts share. A larger pass is no faster per token and delays the next step.
PASS_TOKENS = 512
PASS_TEXTS = 64
# Contexts above this size use flash attention: attention scores (heads × tokens × tokens) would need more memory than all else.
_FLASH_FROM = 1024
# Longest text if the file does not name the context length.
_N_MAX_UNKNOWN = 512


class Embedder:
    """Owns a context for embeddings of a model.

    Its memory grows with the longest text so far, and is checked before it is allocated. A causal model computes a text in parts
    (`can_split`); without a causal mask, a text must be computed in one pass.
    """

    def __init__(
        self, model: Model, pooling: str, *, threads: tuple[int, int], n_ctx: int = 0, flash_attn: str = "auto"
    ) -> None:
        """`pooling` is mean, cls, last or rank, or "none" for the vectors of single tokens; `n_ctx` is a bound on the length of
        texts in addition to the model's (0: none)."""
        self.pooling = pooling
        n_train = model.n_ctx_train or _N_MAX_UNKNOWN
        self.n_max = min(n_train, n_ctx or n_train)
        self.can_split = model.can_generate
        # llama.cpp pools within one pass: a mean over several passes is computed here.
        self._pools_here = self.can_split and pooling == "mean"
        self._sum = np.zeros(model.n_embd_out, np.float32)  # over the computed parts of a text
        self._rows = np.zeros((0, model.n_embd_out), np.float32)  # of the computed parts of a text, with pooling "none"
        self._model = model
        self._threads = threads
        self._flash_attn = flash_attn
        self._create_context(min(self.n_max, _WINDOW_FIRST))
        if self.can_split and not (self._context.has_memory and self._context.is_causal):
            self.close()
            raise UnsupportedError(
                f"the metadata of {model.path} says that it is causal, but llama.cpp treats it as an encoder"
            )

    def _create_context(self, window: int) -> None:
        # llama.cpp reserves a graph for a multiple of n_slots tokens, and aborts if n_batch is smaller.
        window = -(-window // PASS_TEXTS) * PASS_TEXTS
        n_batch = min(window, PASS_TOKENS) if self.can_split else window
        is_long = window > _FLASH_FROM and self._model.attention_shape.has_flash
        flash_attn = is_long if self._flash_attn == "auto" else self._flash_attn == "on"
        params = ContextParams(
            n_ctx=window,
            n_slots=PASS_TEXTS,
            n_batch=n_batch,
            n_ubatch=n_batch,
            threads=self._threads[0],
            threads_batch=self._threads[1],
            flash_attn=flash_attn,
            embeddings=True,
            pooling="none" if self._pools_here else self.pooling,
        )
        self._context = Context(self._model, params)
        self._batch = Batch(n_batch)
        self._window = window

    def close(self) -> None:
        """Frees the context. Safe to call twice."""
        self._context.close()

    @property
    def width(self) -> int:
        """Length of a text's vector."""
        return self._model.n_scores if self.pooling == "rank" else self._model.n_embd_out

    @property
    def n_pass(self) -> int:
        """Greatest number of tokens of a pass that several texts share."""
        return min(self._window, PASS_TOKENS)

    def reserve(self, n_tokens: int, param: str) -> bool:
        """Makes room for a text of n_tokens. Returns True if the context was replaced, and its cells lost. Raises
        ContextLengthError if the text is too long for the model or the memory."""
        if n_tokens <= self._window:
            return False
        if n_tokens > self.n_max:
            message = f"{param} has {n_tokens} tokens; the model takes {self.n_max}"
            raise ContextLengthError(message, n_prompt=n_tokens, n_ctx=self.n_max, param=param)
        before, window = self._window, min(self.n_max, max(n_tokens, 2 * self._window))
        self._context.close()
        try:
            self._create_context(window)
        except InsufficientMemoryError as error:
            self._create_context(before)
            message = f"{param} has {n_tokens} tokens, for which there is too little memory: {error.message}"
            raise ContextLengthError(message, n_prompt=n_tokens, n_ctx=before, param=param) from None
        event(logger, logging.INFO, "embed_context_grown", n_tokens=window)
        return True

    def compute(self, parts: Sequence[PassPart]) -> list[Float32Array]:
        """Computes one pass and returns the pooled vector of each part, float32[width]; only that of a text's last part is
        valid. With pooling "none" it is float32[n_tokens, width], of the text up to the end of the part. Raises StepAborted, or
        NativeError."""
        batch, context = self._batch, self._context
        batch.clear()
        if context.has_memory and not parts[0].start:
            context.clear()
        for slot, part in enumerate(parts):
            batch.add(slot, part.start, part.tokens, wants_logits=True)
        batch.wants_logits[: batch.n_tokens] = 1  # pooling needs all of them
        if self._model.has_decoder:
            context.decode(batch)
        else:
            context.encode(batch)
        if self.pooling == "none":
            return self._token_vectors(parts)
        if self._pools_here:
            return self._means(parts)
        return [context.embedding(slot) for slot in range(len(parts))]

    def _token_vectors(self, parts: Sequence[PassPart]) -> list[Float32Array]:
        ends = np.cumsum([len(part.tokens) for part in parts])
        found = np.split(self._context.token_embeddings(self._batch.n_tokens), ends[:-1])
        if parts[0].start:
            found[0] = np.concatenate([self._rows, found[0]])
        self._rows = found[-1]
        return found

    def _means(self, parts: Sequence[PassPart]) -> list[Float32Array]:
        rows = iter(self._context.token_embeddings(self._batch.n_tokens))
        means = []
        for part in parts:
            total = np.asarray(np.sum([next(rows) for _ in part.tokens], axis=0), np.float32)
            self._sum = total if not part.start else self._sum + total
            means.append(self._sum / np.float32(part.start + len(part.tokens)))
        return means

    def abort(self) -> None:
        """Ends the pass that is being computed, or the next one. Thread-safe."""
        self._context.abort_flag.set(True)

    def rearm(self) -> None:
        """Clears the abort flag."""
        self._context.abort_flag.set(False)
