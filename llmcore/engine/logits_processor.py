"""Functions of the caller that change logits before a token is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from llmcore.errors import LogitsProcessorError
from llmcore.llama.ffi.arrays import Float32Array, UInt32Array


class LogitsProcessor(Protocol):
    """A function of the caller's. It takes the ids of all tokens so far (int32[n], prompt and answer) and the logits of the next
    one (float32[n_vocab], a copy that may be changed in place), and returns logits of the same shape."""

    def __call__(self, tokens: npt.NDArray[np.int32], logits: npt.NDArray[np.float32], /) -> Any: ...


def processed_logits(
    processors: Sequence[LogitsProcessor], tokens: Sequence[int], logits: Float32Array, mask: UInt32Array | None
) -> Float32Array:
    """Returns what the processors, called in order, make of the logits. Tokens that a constraint's mask (a bit for each token, the
    lowest first) excludes are minus infinity.

    Raises LogitsProcessorError if one of them raises, or returns anything but logits that leave a token to choose.
    """
    n_vocab, ids = len(logits), np.asarray(tokens, np.int32)
    changed: Any = logits.copy()
    for processor in processors:
        try:
            returned = processor(ids, changed)
            if returned is None:
                raise TypeError("it returned None: return the logits, also when they are changed in place")
            changed = np.ascontiguousarray(returned, np.float32)
        except Exception as error:  # the caller's code may raise anything
            raise LogitsProcessorError(f"logits_processor failed: {type(error).__name__}: {error}") from error
        if changed.shape != (n_vocab,):
            problem = f"logits_processor must return float32[{n_vocab}], got an array of shape {changed.shape}"
            raise LogitsProcessorError(problem)
        if np.isnan(changed).any() or np.isposinf(changed).any():
            raise LogitsProcessorError("logits_processor returned NaN or plus infinity")
    if mask is not None:
        is_allowed = np.unpackbits(mask.view(np.uint8), count=n_vocab, bitorder="little").view(bool)
        changed = np.where(is_allowed, changed, np.float32(-np.inf))
    if np.isneginf(changed).all():
        raise LogitsProcessorError("logits_processor leaves no token to choose")
    result: Float32Array = changed
    return result
