"""Calls of the kernels on arrays, and references for their results: ggml's own dequantization and double precision."""

from __future__ import annotations

import ctypes as C
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmcore.config import KERNEL_LEVELS
from llmcore.llama.ffi.library import library_dir, load_library

Floats = npt.NDArray[np.float32]

# The types that are packed, by the names that ggml's quantization functions have: number in ggml_type, values of a block.
TYPES = {
    "q4_0": (2, 32),
    "q4_1": (3, 32),
    "q5_0": (6, 32),
    "q5_1": (7, 32),
    "q8_0": (8, 32),
    "q4_K": (12, 256),
    "q5_K": (13, 256),
    "q6_K": (14, 256),
}
CELL_TYPES = {"f16": 1, "bf16": 30, "q8_0": 8}


def levels() -> list[int]:
    """Returns the numbers of the instruction sets that this machine runs."""
    lib = load_library()
    return [level for level in range(1, len(KERNEL_LEVELS)) if lib.lc_kernels_runs(level)]


def levels_missing() -> list[str]:
    return [KERNEL_LEVELS[level] for level in range(1, len(KERNEL_LEVELS)) if level not in levels()]


def _ggml() -> C.CDLL:
    return C.CDLL(str(library_dir() / "libggml-base.so"))


def _pointer(array: npt.NDArray[np.generic] | None) -> int | None:
    return None if array is None else array.ctypes.data


GUARD, UNTOUCHED = 64, 12345.0


def _guarded(shape: tuple[int, ...]) -> Floats:
    """Returns an array for results, with a guard behind it that _check_guard() checks: sanitizers do not see masked stores."""
    size = int(np.prod(shape))
    whole = np.full(size + GUARD, np.nan, np.float32)
    whole[size:] = UNTOUCHED
    return whole[:size].reshape(shape)


def _check_guard(array: Floats) -> None:
    whole = array.base
    assert whole is not None
    assert (whole[array.size :] == UNTOUCHED).all(), "written beyond the end"


def quantize(weights: Floats, kind: str) -> npt.NDArray[np.uint8]:
    """Returns weights [n_cols, k] in ggml's blocks."""
    number, _ = TYPES[kind]
    ggml = _ggml()
    ggml.ggml_row_size.restype = C.c_size_t
    ggml.ggml_row_size.argtypes = (C.c_int, C.c_int64)
    n_cols, k = weights.shape
    out = np.zeros(ggml.ggml_row_size(number, k) * n_cols, np.uint8)
    ggml.ggml_quantize_chunk.argtypes = (C.c_int, C.c_void_p, C.c_void_p, C.c_int64, C.c_int64, C.c_int64, C.c_void_p)
    ggml.ggml_quantize_chunk(number, _pointer(weights), _pointer(out), 0, n_cols, k, None)
    return out


def dequantize(quants: npt.NDArray[np.uint8], kind: str, n: int) -> Floats:
    out = np.zeros(n, np.float32)
    function = getattr(_ggml(), f"dequantize_row_{kind}")
    function.argtypes, function.restype = (C.c_void_p, C.c_void_p, C.c_int64), None
    function(_pointer(quants), _pointer(out), n)
    return out


def matmul(level: int, kind: str, quants: npt.NDArray[np.uint8], x: Floats, n_cols: int, n_threads: int = 2) -> Floats:
    """Returns x [n_rows, k] times the weights: [n_rows, n_cols]."""
    lib, (n_rows, k) = load_library(), x.shape
    y = _guarded((n_rows, n_cols))
    number = TYPES[kind][0]
    arguments = (level, number, k, n_cols, n_rows, _pointer(quants), _pointer(x), _pointer(y), n_threads)
    lib.check(lib.lc_kernels_matmul(*arguments))
    _check_guard(y)
    return y


def multiply_zeros(level: int, type_number: int, k: int = 256, n_cols: int = 4, n_rows: int = 1) -> None:
    """Raises InvalidRequestError if the kernels refuse a product of this ggml_type and shape."""
    lib = load_library()
    quants, x = np.zeros(n_cols * k * 4 + 64, np.uint8), np.zeros((n_rows, k), np.float32)
    y = np.zeros((n_rows, n_cols), np.float32)
    arguments = (level, type_number, k, n_cols, n_rows, _pointer(quants), _pointer(x), _pointer(y), 1)
    lib.check(lib.lc_kernels_matmul(*arguments))


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Arguments of lc_kernels_attention() for one stream. `mask` is added to scores; -inf excludes."""

    q: Floats  # [n_rows, n_head, dk]
    k: Floats  # [n_cells, n_head_kv, dk]
    v: Floats  # [n_cells, n_head_kv, dv]
    mask: Floats | None  # [n_rows, n_cells]
    scale: float
    sinks: Floats | None = None  # [n_head]
    max_bias: float = 0.0
    soft_cap: float = 0.0
    positions: npt.NDArray[np.int32] | None = None  # [n_cells]

    def run(self, level: int, kind: str, n_threads: int = 2) -> Floats:
        (n_rows, n_head, dk), (n_cells, n_head_kv, dv) = self.q.shape, self.v.shape
        lib, number = load_library(), CELL_TYPES[kind]
        out = _guarded((n_rows, n_head, dv))
        k, v = (_cells(each, kind) for each in (self.k, self.v))
        mask = None if self.mask is None else self.mask.astype(np.float16)
        sizes = (dk, dv, n_rows, n_head, n_head_kv, n_cells, 1)
        arrays = (
            _pointer(self.q),
            _pointer(k),
            _pointer(v),
            _pointer(mask),
            _pointer(self.positions),
            _pointer(self.sinks),
        )
        numbers = (self.scale, self.max_bias, self.soft_cap)
        lib.check(lib.lc_kernels_attention(level, n_threads, number, number, *sizes, *arrays, *numbers, _pointer(out)))
        _check_guard(out)
        return out

    def reference(self, kind: str) -> npt.NDArray[np.float64]:
        """Computes the result in double precision, from the rounded cells."""
        n_rows, n_head, _ = self.q.shape
        group = n_head // self.k.shape[1]
        k, v = (_read_cells(_cells(each, kind), kind, each.shape) for each in (self.k, self.v))
        out = np.zeros((n_rows, n_head, v.shape[2]))
        for head in range(n_head):
            scores = self.q[:, head].astype(np.float64) @ k[:, head // group].T * self.scale
            if self.soft_cap:
                scores = self.soft_cap * np.tanh(scores / self.soft_cap)
            if self.mask is not None:
                scores = scores + _slope(head, n_head, self.max_bias) * self.mask.astype(np.float16).astype(np.float64)
            largest = scores.max(axis=1, keepdims=True)
            if self.sinks is not None:
                largest = np.maximum(largest, self.sinks[head])
            largest = np.where(np.isfinite(largest), largest, 0.0)
            weights = np.exp(scores - largest)
            total = weights.sum(axis=1, keepdims=True)
            if self.sinks is not None:
                total += np.exp(self.sinks[head] - largest)
            out[:, head] = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0) @ v[:, head // group]
        return out


def _slope(head: int, n_head: int, max_bias: float) -> float:
    """Slope of a head in ALiBi (Press et al., arXiv 2108.12409)."""
    if not max_bias:
        return 1.0
    whole = 2 ** int(np.log2(n_head))
    step = max_bias / whole
    return float(2.0 ** -(step * (head + 1) if head < whole else step / 2 * (2 * (head - whole) + 1)))


def _cells(values: Floats, kind: str) -> npt.NDArray[np.generic]:
    if kind == "f16":
        return values.astype(np.float16)
    if kind == "bf16":
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return quantize(np.ascontiguousarray(values.reshape(1, -1)), "q8_0")


def _read_cells(cells: npt.NDArray[np.generic], kind: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    if kind == "f16":
        return cells.astype(np.float64)
    if kind == "bf16":
        return (cells.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return dequantize(cells.astype(np.uint8), "q8_0", int(np.prod(shape))).reshape(shape).astype(np.float64)
