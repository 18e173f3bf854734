"""Parameters of a context, and their native form."""

from __future__ import annotations

from dataclasses import dataclass

from llmcore.config import THREADS_MAX
from llmcore.errors import InvalidRequestError
from llmcore.llama.ffi.library import load_library
from llmcore.llama.ffi.structures import LlamaContextParams
from llmcore.llama.kv_types import KV_TYPES
from llmcore.llama.pooling import POOLING_TYPES
from llmcore.values import plain_value, wrong_value

# Least and highest values; llama.cpp's integers have 32 bits.
_RANGES = (
    ("n_ctx", 1, 2**31 - 1),
    ("n_slots", 1, 2**31 - 1),
    ("n_batch", 1, 2**31 - 1),
    ("n_ubatch", 1, 2**31 - 1),
    ("threads", 1, THREADS_MAX),
    ("threads_batch", 1, THREADS_MAX),
)
_KINDS = (("cache_type_k", KV_TYPES), ("cache_type_v", KV_TYPES), ("pooling", POOLING_TYPES))


@dataclass(frozen=True, kw_only=True)
class ContextParams:
    """Parameters of a Context.

    Args:
        n_ctx: KV cells, shared by all slots.
        n_slots: sequences (llama's seq_id 0 to n_slots - 1).
        n_batch: tokens of one step.
        n_ubatch: tokens of one pass over the weights.
        threads: for steps of one token.
        threads_batch: for larger steps.
        cache_type_k, cache_type_v: types of keys and values (kv_types.py).
        embeddings: compute embeddings.
        pooling: how token vectors become one (pooling.py); auto is what the model's file names.
        unified: one buffer of cells for all slots, or an equal part for each; only the former can share cells.

    Raises InvalidRequestError, naming the parameter, for a value out of range.
    """

    n_ctx: int
    n_slots: int = 1
    n_batch: int = 512
    n_ubatch: int = 512
    threads: int = 1
    threads_batch: int = 1
    cache_type_k: str = "f16"
    cache_type_v: str = "f16"
    flash_attn: bool = False
    embeddings: bool = False
    pooling: str = "auto"
    unified: bool = True

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:  # numbers of numpy become plain ones
            object.__setattr__(self, name, plain_value(getattr(self, name)))
        for name, least, most in _RANGES:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                raise InvalidRequestError(f"{name} must be between {least} and {most}, got {value!r}", param=name)
        for name, known in _KINDS:
            if getattr(self, name) not in known:
                problem = f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}"
                raise InvalidRequestError(problem, param=name)
        for name in ("flash_attn", "embeddings", "unified"):
            if not isinstance(getattr(self, name), bool):
                raise wrong_value(name, "True or False", getattr(self, name))


def native_params(params: ContextParams) -> LlamaContextParams:
    """Returns the parameters in llama.cpp's form. Raises InvalidRequestError for more slots than llama.cpp supports."""
    lib = load_library()
    native, most = lib.llama_context_default_params(), lib.llama_max_parallel_sequences()
    if not 1 <= params.n_slots <= most:
        raise InvalidRequestError(f"n_slots must be between 1 and {most}, got {params.n_slots}", param="n_slots")
    native.n_ctx = params.n_ctx
    # llama.cpp reserves logits for one token of each sequence, and aborts if a batch cannot hold as many.
    native.n_batch, native.n_ubatch = max(params.n_batch, params.n_slots), params.n_ubatch
    native.n_seq_max = params.n_slots
    native.n_threads, native.n_threads_batch = params.threads, params.threads_batch
    native.type_k, native.type_v = KV_TYPES[params.cache_type_k], KV_TYPES[params.cache_type_v]
    native.flash_attn_type = int(params.flash_attn)
    native.embeddings = params.embeddings
    native.pooling_type = POOLING_TYPES[params.pooling]
    native.kv_unified = params.unified
    native.no_perf = True
    return native  # type: ignore[no-any-return]
