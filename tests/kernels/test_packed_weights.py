"""Packed weights: their size, reading and writing them whole and in parts, and operations that the kernels leave to ggml."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.config import KERNEL_LEVELS
from llmcore.llama.ffi.library import load_library
from llmcore.llama.kernels import use_kernels
from tests.kernels.ggml_graph import Bytes, Graph, ggml
from tests.native_kernels import TYPES, Floats, dequantize, levels, quantize

pytestmark = pytest.mark.skipif(not levels(), reason="this build or machine has no kernels")

K, N = 512, 70
# Types whose scales are whole numbers times a common scale. Packed, only the products are left, rounded to f16.
PRODUCTS = ("q4_K", "q5_K", "q6_K")
HALF = 2.0**-10  # f16's rounding error, with room
# Bits of a packed weight, by its format (native/kernels/weights/format_*.h).
PACKED_BITS = {
    "q4_0": 5, "q4_1": 5, "q4_K": 5, "q5_0": 6, "q5_1": 6, "q5_K": 6, "q6_K": 7, "q8_0": 8.5,
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_use() -> Iterator[None]:
    """Restores the kernels in use, which are a setting of the process."""
    before = KERNEL_LEVELS[load_library().lc_kernels_used()]
    use_kernels("auto")
    yield
    use_kernels("off" if before == "none" else before)


def weights(kind: str, seed: int = 0, n: int = N) -> tuple[Bytes, Floats]:
    rng = np.random.default_rng(seed)
    scale = rng.choice([1e-3, 0.05, 1.0], (n, 1))
    quants = quantize((rng.standard_normal((n, K)) * scale).astype(np.float32), kind)
    return quants, dequantize(quants, kind, n * K).reshape(n, K)


def assert_same(got: Floats, right: Floats, kind: str) -> None:
    """Compares weights: exactly, or within the error of a rounded scale."""
    if kind in PRODUCTS:
        assert (np.abs(got - right) <= HALF * np.abs(right).max(axis=-1, keepdims=True)).all()
    else:
        np.testing.assert_array_equal(got, right)


# --- Operations -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_rows_are_looked_up(kind: str) -> None:
    quants, values = weights(kind)
    wanted = np.array([0, 69, 15, 16, 17, 15], np.int32)
    with Graph() as graph:
        looked_up = graph.op("get_rows", graph.weight(kind, (K, N), quants), graph.input("i32", wanted))
        [got] = graph.compute(looked_up)
    assert_same(got.reshape(-1, K), values[wanted], kind)


@pytest.mark.parametrize("kind", TYPES)
def test_a_weight_is_converted(kind: str) -> None:
    quants, values = weights(kind)
    with Graph() as graph:
        [got] = graph.compute(graph.op("cast", graph.weight(kind, (K, N), quants), 0))
    assert_same(got.reshape(N, K), values, kind)


@pytest.mark.parametrize("kind", TYPES)
def test_a_weight_serves_two_operations(kind: str) -> None:
    """Tied embeddings without a duplicate are looked up and multiplied."""
    quants, values = weights(kind)
    wanted, x = np.array([3, 33], np.int32), np.random.default_rng(1).standard_normal((2, K)).astype(np.float32)
    with Graph() as graph:
        weight = graph.weight(kind, (K, N), quants)
        looked_up = graph.op("get_rows", weight, graph.input("i32", wanted))
        product = graph.op("mul_mat", weight, graph.input("f32", x))
        rows, sums = graph.compute(looked_up, product)
        assert graph.backend_of(product) == "LLMCORE"
    assert_same(rows.reshape(-1, K), values[wanted], kind)
    right = x @ values.T
    assert np.linalg.norm(sums.reshape(2, N) - right) <= 0.01 * np.linalg.norm(right)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("first", "n"), [(3, 20), (17, 53), (69, 1)])
def test_rows_of_a_weight_are_multiplied(kind: str, first: int, n: int) -> None:
    quants, values = weights(kind)
    x, row = np.random.default_rng(2).standard_normal((3, K)).astype(np.float32), len(quants) // N
    with Graph() as graph:
        view = graph.op("view_2d", graph.weight(kind, (K, N), quants), K, n, row, first * row)
        [got] = graph.compute(graph.op("mul_mat", view, graph.input("f32", x)))
    right = x @ values[first : first + n].T
    assert np.linalg.norm(got.reshape(3, n) - right) <= 0.015 * np.linalg.norm(right)


@pytest.mark.parametrize("kind", TYPES)
def test_a_part_of_each_row_is_multiplied(kind: str) -> None:
    """The view has gaps between its rows."""
    quants, values = weights(kind)
    x, row = np.random.default_rng(3).standard_normal((3, K // 2)).astype(np.float32), len(quants) // N
    with Graph() as graph:
        view = graph.op("view_2d", graph.weight(kind, (K, N), quants), K // 2, N, row, row // 2)
        [got] = graph.compute(graph.op("mul_mat", view, graph.input("f32", x)))
    right = x @ values[:, K // 2 :].T
    assert np.linalg.norm(got.reshape(3, N) - right) <= 0.015 * np.linalg.norm(right)


@pytest.mark.parametrize("kind", TYPES)
def test_a_weight_is_taken_as_several_matrices(kind: str) -> None:
    """The view has another shape than the weight. Latent attention does so with its heads."""
    quants, values = weights(kind)
    x = np.random.default_rng(4).standard_normal((2, 3, K)).astype(np.float32)
    with Graph() as graph:
        heads = graph.op("reshape_3d", graph.weight(kind, (K, N), quants), K, N // 2, 2)
        [got] = graph.compute(graph.op("mul_mat", heads, graph.input("f32", x)))
    right = np.einsum("htk,hnk->htn", x, values.reshape(2, N // 2, K))
    assert np.linalg.norm(got.reshape(right.shape) - right) <= 0.015 * np.linalg.norm(right)


@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
def test_tensors_that_are_not_packed(kind: str) -> None:
    """Matrices of adapters and of experts lie in the same buffer, unpacked."""
    rng = np.random.default_rng(5)
    values = rng.standard_normal((4, N, K)).astype(np.float32)
    data: np.ndarray = values
    if kind == "q8_0":
        data = quantize(values.reshape(-1, K), kind)
        values = dequantize(data, kind, values.size).reshape(values.shape)
    elif kind == "f16":
        data = values.astype(np.float16)
    x, chosen = rng.standard_normal((3, 2, K)).astype(np.float32), np.array([[0, 3], [2, 1], [3, 3]], np.int32)
    with Graph() as graph:
        experts = graph.weight(kind, (K, N, 4), data)
        routed = graph.op("mul_mat_id", experts, graph.input("f32", x), graph.input("i32", chosen))
        [got] = graph.compute(routed)
    right = np.einsum("tek,tenk->ten", x, values[chosen])
    assert np.linalg.norm(got.reshape(right.shape) - right) <= 0.01 * np.linalg.norm(right)


# --- Memory -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES)
def test_what_is_read_is_what_was_set(kind: str) -> None:
    quants, _ = weights(kind)
    with Graph() as graph:
        weight = graph.weight(kind, (K, N), quants)
        graph.place()
        got = graph.get(weight)
        if kind not in PRODUCTS:
            np.testing.assert_array_equal(got, quants)
        assert_same(dequantize(got, kind, N * K).reshape(N, K), dequantize(quants, kind, N * K).reshape(N, K), kind)
        graph.set(weight, got)
        np.testing.assert_array_equal(graph.get(weight), got, "what is read packs to the same")


@pytest.mark.parametrize("kind", TYPES)
def test_any_bytes_can_be_packed_and_read(kind: str) -> None:
    """Scales may be zero, negative, subnormal or infinite, though no quantization makes such."""
    quants = np.random.default_rng(6).integers(0, 256, len(weights(kind)[0]), dtype=np.uint8)
    with Graph() as graph:
        weight = graph.weight(kind, (K, N), quants)
        graph.place()
        got = graph.get(weight)
    if kind not in PRODUCTS:
        np.testing.assert_array_equal(got, quants)
        return
    found, right = (dequantize(each, kind, N * K).astype(np.float64).reshape(-1, 256) for each in (got, quants))
    with np.errstate(invalid="ignore"):
        size = largest_products(quants, kind)
    plain = size < 65504  # f16's range: beyond it the weights are no numbers when they are packed
    assert plain.mean() > 0.2
    assert (np.abs(found[plain] - right[plain]) <= 2 * HALF * size[plain, None] + 2.0**-19).all()


def largest_products(quants: Bytes, kind: str) -> npt.NDArray[np.float64]:
    """Upper bound of the magnitudes of each block's weights."""
    if kind == "q6_K":
        halves = quants.reshape(-1, 210)[:, 208:].copy().view(np.float16).astype(np.float64)
        return np.asarray(np.abs(halves[:, 0]) * 128 * 32)
    halves = quants.reshape(-1, 144 if kind == "q4_K" else 176)[:, :4].copy().view(np.float16).astype(np.float64)
    return np.asarray(np.abs(halves[:, 0]) * 63 * 31 + np.abs(halves[:, 1]) * 63)


@pytest.mark.parametrize("kind", TYPES)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_parts(kind: str, data: st.DataObject) -> None:
    """Parts are read as slices of the whole, and set in any order. Half a block of a K-quant has no scale."""
    quants, _ = weights(kind)
    unit = len(quants) * 256 // (N * K) if kind in PRODUCTS else 1
    cuts = sorted(
        {0, len(quants), *(unit * cut for cut in data.draw(st.lists(st.integers(0, len(quants) // unit), max_size=6)))}
    )
    parts = data.draw(st.permutations(list(itertools.pairwise(cuts))))
    with Graph() as graph:
        first, second = (graph.weight(kind, (K, N)) for _ in range(2))
        graph.place()
        graph.set(first, quants)
        for begin, end in parts:
            graph.set(second, quants[begin:end], begin)
        whole = graph.get(first)
        for begin, end in parts:
            np.testing.assert_array_equal(graph.get(first, begin, end - begin), whole[begin:end])
        if kind in PRODUCTS:
            found, right = (dequantize(each, kind, N * K).reshape(N, K) for each in (graph.get(second), quants))
            assert_same(found, right, kind)
        else:
            np.testing.assert_array_equal(graph.get(second), quants)


@pytest.mark.parametrize("kind", TYPES)
def test_size_of_packed_weights(kind: str) -> None:
    """The last panel of 16 columns is filled up."""
    n_padded = (N + 15) // 16 * 16
    with Graph() as graph:
        graph.weight(kind, (K, N))
        before = load_library().lc_kernels_packed_bytes()
        graph.place()
        assert load_library().lc_kernels_packed_bytes() - before == K * n_padded * PACKED_BITS[kind] / 8


def test_memory_is_filled() -> None:
    quants, _ = weights("q8_0")
    row = len(quants) // N
    with Graph() as graph:
        weight = graph.weight("q8_0", (K, N), quants)
        graph.place()
        ggml().backend_tensor_memset(weight, 0, 20 * row, 2 * row)
        quants[20 * row : 22 * row] = 0
        np.testing.assert_array_equal(graph.get(weight), quants)
