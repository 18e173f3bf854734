"""Products whose activations have rows in several dimensions: recurrent models have one more for sequences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.config import KERNEL_LEVELS
from llmcore.llama.ffi.library import load_library
from llmcore.llama.kernels import use_kernels
from tests.kernels.ggml_graph import Graph
from tests.native_kernels import TYPES, Floats, dequantize, levels, quantize

pytestmark = pytest.mark.skipif(not levels(), reason="this build or machine has no kernels")

ERROR = 0.02  # of a sum, by the lengths of its factors: activations are rounded to eight bits, see test_matmul.py


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Restores the kernels in use, which are a setting of the process."""
    before = KERNEL_LEVELS[load_library().lc_kernels_used()]
    yield
    use_kernels("off" if before == "none" else before)


def weights_of(rng: np.random.Generator, kind: str, n_cols: int, k: int) -> tuple[np.ndarray, Floats]:
    """Returns weights in ggml's blocks, and their values."""
    quants = quantize((rng.standard_normal((n_cols, k)) * 0.05).astype(np.float32), kind)
    return quants, dequantize(quants, kind, n_cols * k).reshape(n_cols, k)


def assert_product(got: Floats, x: Floats, values: Floats) -> None:
    """Compares `got`, which is flat, with x [..., k] times the rows of `values`."""
    lengths = np.linalg.norm(x, axis=-1)[..., None] * np.linalg.norm(values, axis=-1)
    right = x.astype(np.float64) @ values.T
    assert (np.abs(got.reshape(right.shape) - right) <= ERROR * lengths).all()


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", [(2, 1), (1, 2), (3, 2), (9, 3), (40, 2)])
def test_several_sequences(level: int, kind: str, shape: tuple[int, int]) -> None:
    use_kernels(KERNEL_LEVELS[level])
    rng, (n_tokens, n_seqs), k, n_cols = np.random.default_rng(0), shape, 512, 83
    quants, values = weights_of(rng, kind, n_cols, k)
    x = rng.standard_normal((n_seqs, n_tokens, k)).astype(np.float32)
    with Graph() as graph:
        product = graph.op("mul_mat", graph.weight(kind, (k, n_cols), quants), graph.input("f32", x))
        before = load_library().lc_kernels_unpacked_bytes()
        [got] = graph.compute(product)
        assert graph.backend_of(product) == "LLMCORE"
        assert load_library().lc_kernels_unpacked_bytes() == before
    assert_product(got, x, values)


@pytest.mark.parametrize("level", levels())
@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_rows_with_any_strides(level: int, data: st.DataObject) -> None:
    """The rows are a part of a larger tensor, with dimensions in any order."""
    use_kernels(KERNEL_LEVELS[level])
    kind = data.draw(st.sampled_from(sorted(TYPES)))
    k, n_cols = TYPES[kind][1] * data.draw(st.integers(1, 3)), data.draw(st.integers(1, 40))
    counts = [data.draw(st.integers(1, 5)) for _ in range(3)]
    room = [k + data.draw(st.integers(0, 3)), *(n + data.draw(st.integers(0, 2)) for n in counts)]
    order = data.draw(st.permutations(range(3)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    quants, values = weights_of(rng, kind, n_cols, k)
    whole = rng.standard_normal(list(reversed(room))).astype(np.float32)
    byte_strides = [4 * int(np.prod(room[:i])) for i in (1, 2, 3)]
    with Graph() as graph:
        weight = graph.weight(kind, (k, n_cols), quants)
        part = graph.op("view_4d", graph.input("f32", whole), k, *counts, *byte_strides, 0)
        # Dimension i of `part` becomes dimension axes[i].
        axes = [order.index(i) + 1 for i in range(3)]
        product = graph.op("mul_mat", weight, graph.op("permute", part, 0, *axes))
        [got] = graph.compute(product)
        assert graph.backend_of(product) == "LLMCORE"
    cut = whole[: counts[2], : counts[1], : counts[0], :k]  # [i3, i2, i1, k]
    rows = cut.transpose(*(2 - order[2 - i] for i in range(3)), 3)
    assert_product(got, rows, values)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("n_rows", [1, 3, 40])
def test_columns_of_a_weight(level: int, n_rows: int) -> None:
    """A view of whole panels of 16 columns is computed by the kernels."""
    use_kernels(KERNEL_LEVELS[level])
    rng, k, n_cols = np.random.default_rng(1), 256, 100
    quants, values = weights_of(rng, "q4_K", n_cols, k)
    x = rng.standard_normal((n_rows, k)).astype(np.float32)
    row = len(quants) // n_cols
    with Graph() as graph:
        weight, rows = graph.weight("q4_K", (k, n_cols), quants), graph.input("f32", x)
        views = [graph.op("view_2d", weight, k, n, row, first * row) for first, n in ((0, 20), (16, 84), (96, 4))]
        products = [graph.op("mul_mat", view, rows) for view in views]
        got = graph.compute(*products)
        assert [graph.backend_of(product) for product in products] == ["LLMCORE"] * 3
    for found, (first, n) in zip(got, ((0, 20), (16, 84), (96, 4)), strict=True):
        assert_product(found, x, values[first : first + n])
