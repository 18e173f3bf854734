"""Logits for tests of samplers, and draws from them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import HealthCheck, settings

from llmcore.llama.ffi.arrays import Float32Array
from llmcore.llama.model import Model
from llmcore.llama.sampler import Sampler
from llmcore.sampling import SamplingParams

Floats = npt.NDArray[np.float64]

# XTC with a threshold above 1/2 changes nothing, but takes the request to llama.cpp's samplers.
CHAIN: dict[str, Any] = {"xtc_probability": 0.5, "xtc_threshold": 1.0}

# The fixtures that hypothesis complains of are read-only models.
shared_model = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def logits(model: Model, **likely: float) -> Float32Array:
    """Returns logits of -20, except those given as t<id>=logit."""
    values = np.full(model.n_vocab, -20.0, np.float32)
    for name, value in likely.items():
        values[int(name[1:])] = value
    return values


def draw(model: Model, values: Float32Array, n: int = 300, **params: float | int | dict[int, float]) -> Counter[int]:
    """Counts drawn tokens. Each draw has a sampler and seed of its own, so that penalties do not add up."""
    drawn: Counter[int] = Counter()
    for seed in range(n):
        with Sampler(model, SamplingParams(**{"seed": seed, **params}), n_ctx=128) as sampler:  # type: ignore[arg-type]
            drawn[sampler.sample_logits(values)] += 1
    return drawn


def order(values: Float32Array) -> npt.NDArray[np.int64]:
    """Returns tokens by falling logit, equal ones by rising id."""
    return np.lexsort((np.arange(len(values)), -values))
