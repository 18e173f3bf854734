"""Selection of our own kernels (native/kernels), by the option `kernels` and this CPU."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from llmcore.config import KERNEL_CHOICES, KERNEL_LEVELS, EngineConfig
from llmcore.errors import ConfigError
from llmcore.limits import RowTile
from llmcore.llama.attention_shape import AttentionShape
from llmcore.llama.ffi.library import load_library
from llmcore.llama.kv_types import KV_TYPES
from llmcore.log import event
from llmcore.machine.threads import decide_threads

logger = logging.getLogger(__name__)


def decide_level(wanted: str) -> int:
    """Returns the level of instruction sets for a value of the option `kernels`. Raises ConfigError for one that this CPU or build
    does not have."""
    lib = load_library()
    if wanted == "auto":
        return int(lib.lc_kernels_best())
    if wanted == "off":
        return 0
    if wanted not in KERNEL_LEVELS:
        raise ConfigError(f"kernels: {wanted!r} is none of {', '.join(KERNEL_CHOICES)}", param="kernels")
    level = KERNEL_LEVELS.index(wanted)
    if not lib.lc_kernels_runs(level):
        best = KERNEL_LEVELS[lib.lc_kernels_best()]
        raise ConfigError(f"kernels={wanted}: this machine or build has no more than {best}; use auto", param="kernels")
    return level


def decide_kernels(config: EngineConfig) -> str:
    """Returns the value of the option `kernels` to load a model with. With repeatable=on, auto is the best level without AMX, so
    that a row's results do not depend on other rows. Raises ConfigError if there is none."""
    if config.repeatable != "on" or config.kernels != "auto":
        return config.kernels
    lib = load_library()
    for level in range(KERNEL_LEVELS.index("amx") - 1, 0, -1):
        if lib.lc_kernels_runs(level):
            return KERNEL_LEVELS[level]
    raise ConfigError("repeatable=on: this machine or build has none of our kernels", param="repeatable")


def use_kernels(wanted: str) -> str:
    """Sets the kernels of this process's contexts, and of models that are loaded from now on, by the option. Returns the level's
    name. Raises ConfigError."""
    level = decide_level(wanted)
    lib = load_library()
    if level or lib.lc_kernels_used():
        lib.check(lib.lc_kernels_use(level, decide_threads(0).n_threads))
    return KERNEL_LEVELS[level]


def attends(shape: AttentionShape, cache_type_k: str, cache_type_v: str) -> bool:
    """True if the kernels in use compute flash attention for heads of these lengths, with cells of these types."""
    lib, types = load_library(), (KV_TYPES[cache_type_k], KV_TYPES[cache_type_v])
    return bool(shape.pairs) and all(lib.lc_kernels_attends(*pair, *types) for pair in shape.pairs)


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """Switches the kernels off for models and contexts that are created in this block. Weights that are already packed still use
    the kernels."""
    lib = load_library()
    level = lib.lc_kernels_used()
    if not level:
        yield
        return
    n_threads = decide_threads(0).n_threads
    lib.check(lib.lc_kernels_use(0, n_threads))
    try:
        yield
    finally:
        lib.check(lib.lc_kernels_use(level, n_threads))


def row_tile(level: str, packed_bytes: int) -> RowTile:
    """Returns the tile of rows of the kernels that multiply a model's weights, of which packed_bytes lie in our own layout.

    llama.cpp's repacked kernels compute 16 rows at a time, then 4, then one by one: 14 rows take longer than 16. Ours spread rows
    evenly over passes of at most 8 (AVX-512) or 4 to 6 (AVX2), so a partial tile is not padded: 17 rows cost 1.07 times 16, and
    a token costs 9 % (AVX-512) or 4 % (AVX2) more in a step of 16 than in one of 40, 26 % or 15 % more in one of 8. (CPU time of
    a step of SmolLM2-135M Q4_1, one thread of an AMD EPYC.) AMX has not been measured so, and is taken to be like llama.cpp.
    """
    is_ours = level not in ("none", "amx") and packed_bytes > 0
    return RowTile(n_rows=16, n_rows_small=4, is_padded=not is_ours)


def log_kernels(level: str, packed_bytes: int, log_level: int = logging.INFO) -> None:
    """Logs which operations run in which kernels."""
    if level == "none":
        event(logger, log_level, "kernels", instructions="none", own="none", ggml="all")
        return
    own = "attention" if not packed_bytes else "products of packed weights, attention, what lies between them"
    event(logger, log_level, "kernels", instructions=level, own=own, ggml="the rest", packed_bytes=packed_bytes)
