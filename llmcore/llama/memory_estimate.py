"""How much memory a context takes, by llama.cpp's own reckoning, before anything is allocated."""

from __future__ import annotations

import os
from dataclasses import astuple, dataclass

from llmcore.errors import NativeError
from llmcore.llama.ffi.library import load_library
from llmcore.llama.ffi.structures import LcMemoryNeed, LlamaContextParams, LlamaModelParams
from llmcore.llama.interruptible_call import call_interruptibly, no_stop

# Up to this many cells the need is asked for as it is.
_N_CTX_MEASURED = 65536


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that llama.cpp allocates of this machine's memory (not of GPUs), by its own reckoning."""

    model_bytes: int
    context_bytes: int
    compute_bytes: int


def estimate_memory(path: str, model: LlamaModelParams, context: LlamaContextParams) -> MemoryEstimate:
    """Of a model and a context for it, neither of which need exist. Raises NativeError.

    llama.cpp's reckoning makes its bookkeeping for every cell, which for a huge n_ctx would itself not fit. What a context
    needs grows linearly with its cells, so two smaller ones tell.
    """
    wanted, half = context.n_ctx, _N_CTX_MEASURED // 2
    if wanted <= _N_CTX_MEASURED:
        return _reckon(path, model, context)
    context.n_ctx = half
    small = _reckon(path, model, context)
    context.n_ctx = 2 * half
    large = _reckon(path, model, context)
    context.n_ctx = wanted
    steps = (wanted - 2 * half) / half
    grown = [now + int(steps * (now - before)) for before, now in zip(astuple(small), astuple(large), strict=True)]
    return MemoryEstimate(*grown)


def _reckon(path: str, model: LlamaModelParams, context: LlamaContextParams) -> MemoryEstimate:
    lib, out = load_library(), LcMemoryNeed()

    def reckon() -> None:
        try:
            lib.check(lib.lc_memory_required(os.fsencode(path), model, context, out))
        except NativeError:
            raise NativeError(f"llama.cpp cannot create a context for {path}: {lib.load_error()}") from None

    call_interruptibly(reckon, no_stop)
    return MemoryEstimate(out.model_bytes, out.context_bytes, out.compute_bytes)
