"""Estimate of the memory that a context takes, by llama.cpp, before anything is allocated."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass

from llmcore.errors import NativeError
from llmcore.llama.ffi.library import load_library
from llmcore.llama.ffi.structures import LcMemoryNeed, LlamaContextParams, LlamaModelParams
from llmcore.llama.interruptible_call import call_interruptibly, no_stop

# Larger contexts are extrapolated.
_N_CTX_MEASURED = 65536


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that llama.cpp allocates in host memory (not on GPUs)."""

    model_bytes: int
    context_bytes: int
    compute_bytes: int


def estimate_memory(path: str, model: LlamaModelParams, context: LlamaContextParams) -> MemoryEstimate:
    """Returns the estimate for a model and a context, neither of which is created. Raises NativeError.

    llama.cpp's estimate allocates bookkeeping for each cell, which for a huge n_ctx would not fit itself. Memory grows
    linearly with the cells, so larger contexts are extrapolated from two smaller ones.
    """
    wanted, half = context.n_ctx, _N_CTX_MEASURED // 2
    if wanted <= _N_CTX_MEASURED:
        return _estimate(path, model, context)
    context.n_ctx = half
    small = _estimate(path, model, context)
    context.n_ctx = 2 * half
    large = _estimate(path, model, context)
    context.n_ctx = wanted
    steps = (wanted - 2 * half) / half
    grown = [now + int(steps * (now - before)) for before, now in zip(astuple(small), astuple(large), strict=True)]
    return MemoryEstimate(*grown)


def _estimate(path: str, model: LlamaModelParams, context: LlamaContextParams) -> MemoryEstimate:
    lib, out = load_library(), LcMemoryNeed()

    def estimate() -> None:
        try:
            lib.check(lib.lc_memory_required(os.fsencode(path), model, context, out))
        except NativeError:
            raise NativeError(f"llama.cpp cannot create a context for {path}: {lib.load_error()}") from None

    call_interruptibly(estimate, no_stop)
    return MemoryEstimate(out.model_bytes, out.context_bytes, out.compute_bytes)
