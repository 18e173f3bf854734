"""Types that keys and values of a KV cache can have."""

from __future__ import annotations

from llmcore.gguf.tensor_types import TENSOR_TYPES

# Name (as in the options cache_type_k and cache_type_v) → ggml_type.
KV_TYPES = {
    kind.name.lower(): number for number, kind in TENSOR_TYPES.items() if kind.name in ("F32", "F16", "BF16", "Q8_0")
}


def block_size(name: str) -> int:
    """Returns how many numbers of a type are stored together."""
    return TENSOR_TYPES[KV_TYPES[name]].block_size
