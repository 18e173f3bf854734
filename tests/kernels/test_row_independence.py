"""A row of a step has the same bits alone and among others: products at every number of rows, and the operations between them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from llmcore.config import KERNEL_LEVELS
from llmcore.llama.ffi.library import load_library
from llmcore.llama.kernels import use_kernels
from tests.kernels.ggml_graph import Graph
from tests.native_kernels import TYPES, Floats, levels, matmul, quantize

# With AMX, many rows are multiplied in bf16, and few in int8.
INTEGER_LEVELS = [level for level in levels() if KERNEL_LEVELS[level] != "amx"]
ROW_COUNTS = [*range(1, 65), 96, 100, 127, 128, 129, 255, 511, 512, 513]
ROPE_NEOX = 2

pytestmark = pytest.mark.skipif(not INTEGER_LEVELS, reason="this build or machine has no kernels")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Restores the kernels in use, which are a setting of the process."""
    before = KERNEL_LEVELS[load_library().lc_kernels_used()]
    yield
    use_kernels("off" if before == "none" else before)


def same(got: Floats, expected: Floats) -> None:
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("level", INTEGER_LEVELS)
@pytest.mark.parametrize("kind", TYPES)
def test_products_at_every_number_of_rows(level: int, kind: str) -> None:
    """Row i of n is computed from the same numbers, whatever n and the number of threads are."""
    rng, k, n_cols = np.random.default_rng(1), 512, 83
    quants = quantize((rng.standard_normal((n_cols, k)) * 0.05).astype(np.float32), kind)
    x = rng.standard_normal((max(ROW_COUNTS), k)).astype(np.float32)
    alone = np.concatenate([matmul(level, kind, quants, x[i : i + 1], n_cols, 1) for i in range(80)])
    for n_rows in ROW_COUNTS:
        got = matmul(level, kind, quants, x[:n_rows], n_cols, 1 + n_rows % 3)
        same(got[:80], alone[:n_rows])
    last = matmul(level, kind, quants, x[-1:], n_cols)
    same(matmul(level, kind, quants, x, n_cols)[-1:], last)


def operations(level: int, x: Floats, y: Floats, positions: npt.NDArray[np.int32]) -> list[Floats]:
    """Computes each operation on rows [n, width] by the kernels of `level`."""
    use_kernels(KERNEL_LEVELS[level])
    n, width = x.shape
    with Graph() as graph:
        # Weights that are packed bring the other operations to the kernels, too.
        quants = quantize(np.ones((4, 256), np.float32), "q8_0")
        ones = graph.input("f32", np.ones((1, 256), np.float32))
        product = graph.op("mul_mat", graph.weight("q8_0", (256, 4), quants), ones)
        graph.place()
        a, b = graph.input("f32", x), graph.input("f32", y)
        heads = graph.input("f32", x.reshape(n, 2, width // 2))
        at = graph.input("i32", positions)
        numbers = (width // 2, ROPE_NEOX, 4096, 1e4, 1.0, 0.0, 1.0, 32.0, 1.0)
        nodes = [
            graph.op("add", a, b),
            graph.op("mul", a, b),
            graph.op("scale", a, 0.3),
            graph.op("rms_norm", a, 1e-5),
            graph.op("swiglu_split", a, b),
            graph.op("geglu_split", a, b),
            graph.op("rope_ext", heads, at, None, *numbers),
        ]
        *found, _ = graph.compute(*nodes, product)
        assert {graph.backend_of(node) for node in nodes} == {"LLMCORE"}
    return [each.reshape(n, width) for each in found]


@pytest.mark.parametrize("level", INTEGER_LEVELS)
@pytest.mark.parametrize("width", [64, 100, 576, 1000])
def test_operations_between_products(level: int, width: int) -> None:
    rng, n = np.random.default_rng(2), 40
    x, y = (rng.standard_normal((n, width)).astype(np.float32) * 3 for _ in range(2))
    positions = rng.integers(0, 4000, n).astype(np.int32)
    together = operations(level, x, y, positions)
    for i in (0, 1, 17, 39):
        alone = operations(level, x[i : i + 1], y[i : i + 1], positions[i : i + 1])
        for got, expected in zip(alone, together, strict=True):
            same(got[0], expected[i])
