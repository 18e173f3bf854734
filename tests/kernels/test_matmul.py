"""Products of packed weights against double precision: every type and shape, with each instruction set of this machine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.config import KERNEL_LEVELS
from llmcore.errors import InvalidRequestError
from tests.native_kernels import TYPES, Floats, dequantize, levels, matmul, multiply_zeros, quantize

needs_kernels = pytest.mark.skipif(not levels(), reason="this build or machine has no kernels")

# Activations are rounded to eight bits per 32, or to bf16. Both err by less than this, relative to the result's norm.
MATMUL_ERROR, ELEMENT_ERROR = 0.01, 0.02
N_GGML_TYPES = 42  # of ggml_type; a number beyond is refused too


def weights_of(rng: np.random.Generator, n_cols: int, k: int) -> Floats:
    return (rng.standard_normal((n_cols, k)) * rng.uniform(0.01, 0.1, (n_cols, 1))).astype(np.float32)


def check_product(level: int, kind: str, n_rows: int, n_cols: int, k: int, n_threads: int = 2, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    quants = quantize(weights_of(rng, n_cols, k), kind)
    x = rng.standard_normal((n_rows, k)).astype(np.float32) * rng.uniform(0.1, 10, (n_rows, 1)).astype(np.float32)
    got = matmul(level, kind, quants, x, n_cols, n_threads)
    weights = dequantize(quants, kind, n_cols * k).reshape(n_cols, k).astype(np.float64)
    exact = x.astype(np.float64) @ weights.T
    assert np.isfinite(got).all()
    # A sum of few terms may be close to zero, so the bound is relative to the terms.
    lengths = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(weights, axis=1)[None, :]
    assert (np.abs(got - exact) <= ELEMENT_ERROR * lengths).all(), (KERNEL_LEVELS[level], kind, n_rows, n_cols, k)
    if exact.size * k >= 64 * 1024:
        assert np.linalg.norm(got - exact) <= MATMUL_ERROR * np.linalg.norm(exact), KERNEL_LEVELS[level]


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 31, 33, 64])
def test_products(level: int, kind: str, n_rows: int) -> None:
    check_product(level, kind, n_rows, n_cols=83, k=512)


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", ["q4_K", "q6_K", "q8_0", "q5_1"])
@pytest.mark.parametrize("n_rows", [511, 512, 513])
def test_products_of_a_whole_prompt_chunk(level: int, kind: str, n_rows: int) -> None:
    check_product(level, kind, n_rows, n_cols=200, k=1024)


@needs_kernels
@pytest.mark.parametrize("level", levels())
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_products_of_any_shape(level: int, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(TYPES)))
    k = TYPES[kind][1] * data.draw(st.integers(1, 9))
    check_product(
        level,
        kind,
        n_rows=data.draw(st.integers(1, 70)),
        n_cols=data.draw(st.integers(1, 130)),
        k=k,
        n_threads=data.draw(st.integers(1, 5)),
        seed=data.draw(st.integers(0, 2**31)),
    )


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", TYPES)
def test_rows_of_zeros_and_of_extremes(level: int, kind: str) -> None:
    rng = np.random.default_rng(3)
    quants = quantize(weights_of(rng, 40, 256), kind)
    x = np.zeros((20, 256), np.float32)
    x[3], x[4], x[5, 17] = 1e-30, 1e6, 1.0
    got = matmul(level, kind, quants, x, 40)
    assert (got[:3] == 0).all()
    assert (got[6:] == 0).all()
    exact = x.astype(np.float64) @ dequantize(quants, kind, 40 * 256).reshape(40, 256).T
    assert np.linalg.norm(got[4:6] - exact[4:6]) <= MATMUL_ERROR * np.linalg.norm(exact[4:6])


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("what", [np.nan, -np.nan, np.inf, -np.inf])
def test_nan_and_infinity_change_their_own_row_only(level: int, kind: str, what: float) -> None:
    """At every place of a block, alone or beside very large numbers."""
    rng = np.random.default_rng(7)
    n_cols, k = 40, 512
    quants = quantize(weights_of(rng, n_cols, k), kind)
    for n_rows in (1, 5, 40):
        x = rng.standard_normal((n_rows, k)).astype(np.float32)
        clean = matmul(level, kind, quants, x, n_cols)
        hurt = rng.choice(n_rows, (n_rows + 1) // 2, replace=False)
        x[hurt, (7 * hurt) % k] = what
        x[hurt[::2], (7 * hurt[::2] + 1) % k] = 3e38
        got = matmul(level, kind, quants, x, n_cols)
        others = np.setdiff1d(np.arange(n_rows), hurt)
        assert not np.isfinite(got[hurt]).any(), (KERNEL_LEVELS[level], n_rows)
        assert np.isnan(got[hurt]).all() or np.isinf(what)
        np.testing.assert_array_equal(got[others], clean[others])


@needs_kernels
def test_a_product_refuses_what_it_cannot_compute() -> None:
    level, q4_k = levels()[0], TYPES["q4_K"][0]
    multiply_zeros(level, q4_k)
    with pytest.raises(InvalidRequestError, match="level"):
        multiply_zeros(99, q4_k)
    for shape, message in (((100, 4, 1), "k: "), ((512, 0, 1), "n_cols: "), ((512, 4, 0), "n_rows: ")):
        with pytest.raises(InvalidRequestError, match=message):
            multiply_zeros(level, q4_k, *shape)


@needs_kernels
def test_every_type_that_is_packed_is_tested() -> None:
    """A type that is added to the kernels is added to TYPES too, so that all tests of packed weights and products include it."""
    assert {number for number in range(N_GGML_TYPES) if is_packed(number)} == {number for number, _ in TYPES.values()}


def is_packed(type_number: int) -> bool:
    try:
        multiply_zeros(levels()[0], type_number)
    except InvalidRequestError:
        return False
    return True
