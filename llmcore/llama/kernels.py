"""Selection of our own kernels (native/kernels), by the option `kernels` and this CPU."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from llmcore.config import KERNEL_CHOICES, KERNEL_LEVELS
from llmcore.errors import ConfigError
from llmcore.llama.ffi.library import load_library
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


def use_kernels(wanted: str) -> str:
    """Sets the kernels of this process's contexts, and of models that are loaded from now on, by the option. Returns the level's
    name. Raises ConfigError."""
    level = decide_level(wanted)
    lib = load_library()
    if level or lib.lc_kernels_used():
        lib.check(lib.lc_kernels_use(level, decide_threads(0).n_threads))
    return KERNEL_LEVELS[level]


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


def log_kernels(level: str, packed_bytes: int, log_level: int = logging.INFO) -> None:
    """Logs which operations run in which kernels."""
    if level == "none":
        event(logger, log_level, "kernels", instructions="none", own="none", ggml="all")
        return
    own = "attention" if not packed_bytes else "products of packed weights, attention, what lies between them"
    event(logger, log_level, "kernels", instructions=level, own=own, ggml="the rest", packed_bytes=packed_bytes)
