"""Everything that decides the bits of an answer: two services with the same fingerprint may be compared."""

from __future__ import annotations

import hashlib

from llmcore.gguf.fingerprint import machine_fingerprint, model_fingerprint
from llmcore.llama.context import Context
from llmcore.llama.ffi.library import LIBRARY_NAME, library_dir
from llmcore.messages import Computation


def describe_computation(context: Context) -> Computation:
    """Describes how an engine computes: its build, kernels, attention settings and model."""
    model, params = context.model, context.params
    digest = model_fingerprint(model.path)
    parts = [
        model.build,
        model_fingerprint(library_dir() / LIBRARY_NAME),
        model.kernels,
        # Without our kernels, ggml chooses its own by the type of CPU.
        machine_fingerprint() if model.kernels == "none" else "",
        str(params.flash_attn),
        params.cache_type_k,
        params.cache_type_v,
        digest,
    ]
    fingerprint = "fp_" + hashlib.blake2b("\n".join(parts).encode(), digest_size=6).hexdigest()
    return Computation(
        fingerprint=fingerprint,
        build=model.build,
        kernels=model.kernels,
        flash_attn=params.flash_attn,
        cache_type_k=params.cache_type_k,
        cache_type_v=params.cache_type_v,
        model_digest=digest,
    )
