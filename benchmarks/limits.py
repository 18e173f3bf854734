"""Measures the limits of the machine: bytes read per second, and operations per second of matrix products."""

from __future__ import annotations

import ctypes as C
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from llmcore.llama.ffi.library import load_library

# Larger than any cache.
N_BYTES = 1 << 29
N_TURNS = 5
_MATRIX = 2048


@dataclass(frozen=True)
class Limits:
    """Rates of the machine: `bytes_per_s` by the number of threads, `flops_per_s` of all threads by the type that is multiplied."""

    bytes_per_s: Mapping[int, float]
    flops_per_s: Mapping[str, float]

    def or_better(self, other: Limits) -> Limits:
        """Returns the greater of each rate: other work on the machine only reduces them."""
        rates, flops = other.bytes_per_s, other.flops_per_s
        return Limits(
            {n: max(rate, rates[n]) for n, rate in self.bytes_per_s.items()},
            {name: max(rate, flops[name]) for name, rate in self.flops_per_s.items()},
        )

    @property
    def most_bytes_per_s(self) -> float:
        return max(self.bytes_per_s.values())

    @property
    def most_flops_per_s(self) -> float:
        return max(self.flops_per_s.values())


def limits(threads: int) -> Limits:
    """Measures by the native library's own loops if it has them. Else memory is read by the C library's memchr, searching for an
    absent byte, and fp32 is multiplied by NumPy."""
    lib = load_library()
    if not lib.lc_kernels_best():
        return Limits({n: read_rate(n) for n in sorted({1, threads})}, {"fp32": product_rate()})
    bandwidth = {n: lib.lc_kernels_bandwidth(n) * 1e9 for n in sorted({1, threads})}
    flops = json.loads(lib.take_string(lib.lc_kernels_flops, threads))
    return Limits(bandwidth, {name: float(rate) * 1e9 for name, rate in flops.items()})


def read_rate(threads: int, n_bytes: int = N_BYTES) -> float:
    """Measures bytes per second, the best of some turns. ctypes releases the interpreter lock during a call."""
    memory, part = np.ones(n_bytes, np.uint8), n_bytes // threads
    memchr = C.CDLL(None).memchr
    memchr.restype, memchr.argtypes = C.c_void_p, (C.c_void_p, C.c_int, C.c_size_t)
    with ThreadPoolExecutor(threads) as pool:
        starts = [memory.ctypes.data + i * part for i in range(threads)]
        return n_bytes / _best(lambda: list(pool.map(lambda start: memchr(start, 2, part), starts)))


def product_rate(n: int = _MATRIX) -> float:
    """Measures fp32 operations per second, on as many threads as NumPy's BLAS takes (all cores)."""
    left, right = np.ones((n, n), np.float32), np.ones((n, n), np.float32)
    return 2 * n**3 / _best(lambda: left @ right)


def _best(run: Callable[[], object]) -> float:
    """Seconds of the fastest of some turns."""
    seconds = []
    for _ in range(N_TURNS):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
