"""Log-probabilities of tokens, computed from logits."""

from __future__ import annotations

import numpy as np

from llmcore.llama.ffi.arrays import Float32Array


def token_logprobs(logits: Float32Array, token: int, n_top: int = 0) -> tuple[tuple[int, float], ...]:
    """Returns pairs (token, log-probability): of `token`, then of the n_top most probable ones, the most probable first.

    `logits` is float32[n_vocab] and has a finite maximum. Log-probabilities are natural logarithms, summed in 64 bits.
    """
    highest = float(logits.max())
    log_sum = float(np.log(np.exp(logits.astype(np.float64) - highest).sum()))
    tokens = [token, *_most_probable(logits, n_top)] if n_top else [token]
    return tuple((each, float(logits[each]) - highest - log_sum) for each in tokens)


def _most_probable(logits: Float32Array, n: int) -> list[int]:
    """Returns the n tokens with the highest logits, in order; of equal ones the lower id comes first."""
    n = min(n, len(logits))
    least = np.partition(logits, len(logits) - n)[len(logits) - n]
    candidates = np.flatnonzero(logits >= least)
    order = np.lexsort((candidates, -logits[candidates]))
    found: list[int] = candidates[order][:n].tolist()
    return found
