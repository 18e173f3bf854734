"""Tiles of rows: steps that fill them, whatever the kernels' sizes are."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.limits import Limits, RowTile

tiles = st.sampled_from([RowTile(), RowTile(8, 8), RowTile(16, 8), RowTile(6, 1)])


@given(tiles, st.integers(0, 300), st.integers(1, 300))
def test_filled_tiles_are_part_of_what_there_is(tile: RowTile, n_before: int, n: int) -> None:
    found = tile.fill(n_before, n)
    assert 0 < found <= n
    assert found == n or (n_before + found) % tile.n_rows_small == 0
    if found < n and n_before + n >= tile.n_rows:
        assert (n_before + found) % tile.n_rows == 0


@given(tiles, st.integers(0, 300))
def test_free_rows_complete_the_last_tile(tile: RowTile, n: int) -> None:
    assert 0 <= tile.n_free(n) < tile.n_rows
    assert (n + tile.n_free(n)) % tile.n_rows == 0


@given(st.integers(0, 300), st.integers(1, 300))
def test_kernels_that_do_not_pad_have_nothing_to_fill(n_before: int, n: int) -> None:
    tile = RowTile(is_padded=False)
    assert (tile.fill(n_before, n), tile.n_free(n_before)) == (n, 0)


def test_limits_are_llama_cpps_tiles_unless_told_otherwise_and_never_change() -> None:
    limits = Limits(n_ctx=512, n_running=2, n_waiting=8, n_batch=64)
    assert (limits.tile.n_rows, limits.tile.n_rows_small) == (16, 4)
    with pytest.raises(FrozenInstanceError):
        limits.n_ctx = 1024  # type: ignore[misc]
