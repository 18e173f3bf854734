"""Attention against double precision, with each instruction set of this machine."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.errors import LlmcoreError
from tests.native_kernels import CELL_TYPES, Attention, Floats, levels

needs_kernels = pytest.mark.skipif(not levels(), reason="this build or machine has no kernels")

# fp32 sums; the AMX tiles round weights of the softmax to bf16.
ATTENTION_ERROR = 0.004


def causal(n_rows: int, n_cells: int, *, window: int = 0) -> Floats:
    """Mask of the last rows of a sequence of n_cells, with a sliding window if `window` is not 0."""
    position = np.arange(n_cells - n_rows, n_cells)[:, None]
    cell = np.arange(n_cells)[None, :]
    seen = (cell <= position) & ((cell > position - window) if window else True)
    return np.where(seen, 0.0, -np.inf).astype(np.float32)


def case(
    rng: np.random.Generator, mask: Floats | None, n_rows: int, n_cells: int, *, heads: int = 4, groups: int = 2, dk: int = 64,
    dv: int = 64, **more: object,
) -> Attention:  # fmt: skip
    return Attention(
        q=rng.standard_normal((n_rows, heads, dk)).astype(np.float32),
        k=rng.standard_normal((n_cells, groups, dk)).astype(np.float32),
        v=rng.standard_normal((n_cells, groups, dv)).astype(np.float32),
        mask=mask,
        scale=dk**-0.5,
        **more,  # type: ignore[arg-type]
    )


def check_attention(level: int, kind: str, attention: Attention, n_threads: int = 2) -> None:
    got, exact = attention.run(level, kind, n_threads), attention.reference(kind)
    seen = slice(None) if attention.mask is None else np.isfinite(attention.mask).any(axis=1)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got[seen], exact[seen], atol=ATTENTION_ERROR * np.abs(attention.v).max(), rtol=0.01)


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", CELL_TYPES)
@pytest.mark.parametrize(("heads", "groups"), [(1, 1), (3, 3), (9, 3), (8, 2), (8, 1), (32, 8)])
@pytest.mark.parametrize(("n_rows", "n_cells"), [(1, 256), (3, 256), (40, 256), (128, 512)])
def test_attention(level: int, kind: str, heads: int, groups: int, n_rows: int, n_cells: int) -> None:
    rng = np.random.default_rng(1)
    check_attention(level, kind, case(rng, causal(n_rows, n_cells), n_rows, n_cells, heads=heads, groups=groups))


# Lengths of keys and of values.
LENGTHS = [
    *((n, n) for n in (8, 16, 24, 32, 40, 64, 72, 80, 96, 100, 112, 120, 128, 192, 256)),
    *((192, 128), (48, 80), (40, 80), (576, 512)),
]


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize(
    ("kind", "dk", "dv"),
    [(kind, *each) for kind in CELL_TYPES for each in LENGTHS if kind != "q8_0" or not (each[0] % 32 or each[1] % 32)],
)
def test_attention_of_any_head_size(level: int, kind: str, dk: int, dv: int) -> None:
    """Sizes that the kernels refuse are left to ggml."""
    rng = np.random.default_rng(2)
    for n_rows in (1, 7, 30):
        attention = case(rng, causal(n_rows, 256), n_rows, 256, dk=dk, dv=dv)
        if dk % 16 or dv % 16:
            with pytest.raises(LlmcoreError, match="not computed by the kernels"):
                attention.run(level, kind)
        else:
            check_attention(level, kind, attention)


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("n_rows", [1, 5, 64])
def test_attention_with_everything_that_ggml_defines(level: int, n_rows: int) -> None:
    rng = np.random.default_rng(4)
    mask = causal(n_rows, 512, window=100)
    sinks = rng.standard_normal(8).astype(np.float32)
    for more in ({"sinks": sinks}, {"soft_cap": 5.0}, {"max_bias": 8.0}, {"sinks": sinks, "soft_cap": 20.0}):
        biased = np.where(np.isfinite(mask), rng.uniform(-4, 0, mask.shape), -np.inf).astype(np.float32)
        check_attention(level, "f16", case(rng, biased, n_rows, 512, heads=8, **more))
    check_attention(level, "f16", case(rng, None, n_rows, 512))


@needs_kernels
@pytest.mark.parametrize("level", levels())
def test_sequences_in_one_buffer(level: int) -> None:
    """Eight rows that share a prefix, each with some cells of its own among those of the others."""
    rng = np.random.default_rng(5)
    n_rows, n_prefix, n_cells = 8, 300, 1024
    owner = rng.integers(-1, n_rows, n_cells)
    mask = np.where(owner[None, :] == np.arange(n_rows)[:, None], 0.0, -np.inf).astype(np.float32)
    mask[:, :n_prefix] = 0.0
    check_attention(level, "f16", case(rng, mask, n_rows, n_cells, heads=8))


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", ["f16", "q8_0"])
@pytest.mark.parametrize("step", [-6.0, -0.8, 0.8, 3.0, 6.0, 40.0])
@pytest.mark.parametrize("n_rows", [1, 6, 70])
def test_scores_that_rise_and_fall_with_the_cells(level: int, kind: str, step: float, n_rows: int) -> None:
    """Scores change by about `step` from each 64 cells to the next, so the online softmax has to rescale its sums."""
    rng = np.random.default_rng(9)
    some = case(rng, causal(n_rows, 512), n_rows, 512)
    q, k = some.q / np.float32(4), some.k / np.float32(4)
    q[:, :, 0] = 8.0
    k[:, :, 0] = step * (np.arange(512) // 64)[:, None]
    for n_threads in (1, 3):  # one item of work, and several whose results are merged
        check_attention(level, kind, dataclasses.replace(some, q=q, k=k), n_threads)


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("n_rows", [1, 6, 70])
def test_masked_cells_do_not_matter(level: int, n_rows: int) -> None:
    """Cells that belong to no sequence may hold anything, even NaN."""
    rng = np.random.default_rng(6)
    mask = np.where(rng.random((n_rows, 512)) < 0.5, 0.0, -np.inf).astype(np.float32)
    mask[:, ::7] = -np.inf
    clean = case(rng, mask, n_rows, 512)
    dirty = case(np.random.default_rng(6), mask, n_rows, 512)
    for array in (dirty.k, dirty.v):
        array[::7] = np.nan
    dirty = Attention(q=clean.q, k=np.where(np.isnan(dirty.k), np.nan, clean.k).astype(np.float32),
                      v=np.where(np.isnan(dirty.v), np.nan, clean.v).astype(np.float32), mask=mask, scale=clean.scale)  # fmt: skip
    np.testing.assert_allclose(dirty.run(level, "f16"), clean.run(level, "f16"), atol=0.02)


@needs_kernels
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", CELL_TYPES)
@pytest.mark.parametrize("n_rows", [1, 6, 70])
def test_nan_in_a_query_changes_its_own_row_only(level: int, kind: str, n_rows: int) -> None:
    rng = np.random.default_rng(8)
    clean = case(rng, causal(n_rows, 512), n_rows, 512)
    hurt = np.arange(0, n_rows, 3)
    q = clean.q.copy()
    q[hurt, :, 5] = np.nan
    got = dataclasses.replace(clean, q=q).run(level, kind)
    assert np.isnan(got[hurt]).all()
    others = np.setdiff1d(np.arange(n_rows), hurt)
    np.testing.assert_array_equal(got[others], clean.run(level, kind)[others])


@needs_kernels
@pytest.mark.parametrize("level", levels())
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_attention_with_any_mask(level: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    n_rows, n_cells = data.draw(st.integers(1, 80)), 32 * data.draw(st.integers(1, 20))
    groups = data.draw(st.sampled_from([1, 2, 3]))
    heads = groups * data.draw(st.sampled_from([1, 3, 4, 8]))
    density = data.draw(st.sampled_from([0.01, 0.3, 0.9, 1.0]))
    holes = rng.random((n_rows, n_cells)) < density
    if data.draw(st.booleans()):  # whole blocks
        holes &= np.repeat(rng.random((n_rows, n_cells // 32)) < 0.5, 32, axis=1)
    mask = np.where(holes, rng.choice([0.0, -1.5], (n_rows, n_cells)), -np.inf).astype(np.float32)
    kind = data.draw(st.sampled_from(sorted(CELL_TYPES)))
    attention = case(rng, mask, n_rows, n_cells, heads=heads, groups=groups, dk=32, dv=64)
    check_attention(level, kind, attention, n_threads=data.draw(st.integers(1, 5)))
