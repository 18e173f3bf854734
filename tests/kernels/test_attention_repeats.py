"""Attention of a row has the same bits wherever its cells lie, whatever other rows are computed with it, and with any threads."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.config import KERNEL_LEVELS
from tests.native_kernels import CELL_TYPES, Attention, Floats, levels

# With AMX, rows that many lines share are computed in bf16: there, only the cells do not matter.
INTEGER_LEVELS = [level for level in levels() if KERNEL_LEVELS[level] != "amx"]

pytestmark = pytest.mark.skipif(not levels(), reason="this build or machine has no kernels")

LENGTH, N_CELLS = 330, 768
NOWHERE = -1

Numbers = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Conversation:
    """Tokens of one sequence, by position."""

    q: Floats  # [LENGTH, heads, dk]
    k: Floats  # [LENGTH, groups, dk]
    v: Floats


def conversation(seed: int, heads: int, groups: int, dk: int = 64, dv: int = 64, length: int = LENGTH) -> Conversation:
    rng = np.random.default_rng(seed)
    q, k, v = ((length, heads, dk), (length, groups, dk), (length, groups, dv))
    return Conversation(*(rng.standard_normal(shape).astype(np.float32) * 2 for shape in (q, k, v)))


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of a step: of a conversation, the tokens at `positions`."""

    conversation: Conversation
    positions: list[int]
    cells: Numbers  # of the conversation, by position
    window: int = 0


def step(n_cells: int, *all_rows: Rows, **more: object) -> Attention:
    """The attention of a step. Cells of no conversation hold numbers that would spoil every sum."""
    first = all_rows[0].conversation
    k, v = (np.full((n_cells, *each.shape[1:]), 1e4, np.float32) for each in (first.k, first.v))
    positions = np.full(n_cells, NOWHERE, np.int32)
    masks = []
    for rows in all_rows:
        k[rows.cells], v[rows.cells] = rows.conversation.k, rows.conversation.v
        positions[rows.cells] = np.arange(len(rows.cells))
        for position in rows.positions:
            start = max(0, position + 1 - rows.window) if rows.window else 0
            mask = np.full(n_cells, -np.inf, np.float32)
            mask[rows.cells[start : position + 1]] = 0.0
            masks.append(mask)
    q = np.concatenate([rows.conversation.q[rows.positions] for rows in all_rows])
    return Attention(q=q, k=k, v=v, mask=np.array(masks), scale=q.shape[2] ** -0.5, positions=positions, **more)  # type: ignore[arg-type]


def in_a_row(start: int = 0) -> Numbers:
    return np.arange(start, start + LENGTH, dtype=np.int32)


def scattered(rng: np.random.Generator, n_cells: int, longest_run: int) -> Numbers:
    """All cells in runs, as a buffer has them that has been used for a while."""
    runs: list[list[int]] = []
    at = 0
    while at < n_cells:
        end = min(n_cells, at + int(rng.integers(1, longest_run + 1)))
        runs.append(list(range(at, end)))
        at = end
    return np.array([cell for i in rng.permutation(len(runs)) for cell in runs[i]], np.int32)


def same(got: Floats, expected: Floats) -> None:
    np.testing.assert_array_equal(got.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("kind", CELL_TYPES)
@pytest.mark.parametrize("positions", [[LENGTH - 1], [3], list(range(290, LENGTH)), [63, 64, 127, 128, 200]])
def test_cells_do_not_matter(level: int, kind: str, positions: list[int]) -> None:
    some, rng = conversation(1, 9, 3), np.random.default_rng(2)
    expected = step(N_CELLS, Rows(some, positions, in_a_row())).run(level, kind)
    for longest_run in (1, 5, 64, 300):
        cells = scattered(rng, N_CELLS, longest_run)[:LENGTH]
        same(step(N_CELLS, Rows(some, positions, cells)).run(level, kind), expected)
    same(step(1024, Rows(some, positions, in_a_row(411))).run(level, kind), expected)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("n_rows", [1, 8, 45])
def test_threads_do_not_matter(level: int, n_rows: int) -> None:
    some = conversation(3, 8, 2)
    attention = step(N_CELLS, Rows(some, list(range(LENGTH - n_rows, LENGTH)), in_a_row(17)))
    expected = attention.run(level, "f16", 1)
    for n_threads in (2, 3, 7, 16):
        same(attention.run(level, "f16", n_threads), expected)


@pytest.mark.parametrize("level", INTEGER_LEVELS)
@pytest.mark.parametrize("kind", CELL_TYPES)
@pytest.mark.parametrize(("heads", "groups"), [(9, 3), (4, 4), (10, 2), (8, 1), (12, 2)])
@pytest.mark.parametrize(("dk", "dv"), [(64, 64), (96, 128), (128, 32)])
@pytest.mark.parametrize("window", [0, 100])
def test_a_row_alone_and_among_many(
    level: int, kind: str, heads: int, groups: int, dk: int, dv: int, window: int
) -> None:
    some = conversation(4, heads, groups, dk, dv)
    positions = list(range(LENGTH - 70, LENGTH))
    together = step(N_CELLS, Rows(some, positions, in_a_row(5), window)).run(level, kind)
    for i in (0, 1, 37, 69):
        alone = step(N_CELLS, Rows(some, [positions[i]], in_a_row(5), window)).run(level, kind)
        same(alone[0], together[i])


@pytest.mark.parametrize("level", INTEGER_LEVELS)
@pytest.mark.parametrize("more", [{"sinks": True}, {"soft_cap": 5.0}])
def test_sinks_and_a_soft_cap(level: int, more: dict[str, object]) -> None:
    some = conversation(5, 8, 2)
    if "sinks" in more:
        more = {"sinks": np.linspace(-3, 3, 8).astype(np.float32)}
    together = step(N_CELLS, Rows(some, list(range(200, 260)), in_a_row()), **more).run(level, "f16")
    for i in (0, 59):
        same(step(N_CELLS, Rows(some, [200 + i], in_a_row(90)), **more).run(level, "f16")[0], together[i])


@pytest.mark.parametrize("level", INTEGER_LEVELS)
def test_mask_values(level: int) -> None:
    """ALiBi: the mask tells the distance."""
    some, rng = conversation(6, 8, 2), np.random.default_rng(7)

    def run(positions: list[int], cells: Numbers) -> Floats:
        plain = step(N_CELLS, Rows(some, positions, cells))
        assert plain.mask is not None
        assert plain.positions is not None
        distance = -np.abs(plain.positions[None, :] - np.array(positions)[:, None]).astype(np.float32)
        mask = np.where(np.isfinite(plain.mask), distance, -np.inf).astype(np.float32)
        return dataclasses.replace(plain, mask=mask, max_bias=8.0).run(level, "f16")

    together = run(list(range(150, 200)), in_a_row())
    for i in (0, 20, 49):
        same(run([150 + i], scattered(rng, N_CELLS, 20)[:LENGTH])[0], together[i])


@pytest.mark.parametrize("level", INTEGER_LEVELS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_company_does_not_matter(level: int, data: st.DataObject) -> None:
    """Rows of several conversations, some with a common beginning whose cells they share, in any cells."""
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000), label="seed"))
    n_others = data.draw(st.integers(0, 7), label="others")
    longest_run = data.draw(st.sampled_from([1, 7, 40, 200]), label="longest run")
    n_cells = 64 * data.draw(st.integers(44, 60), label="blocks")
    kind = data.draw(st.sampled_from(list(CELL_TYPES)), label="kind")
    window = data.draw(st.sampled_from([0, 0, 80]), label="window")
    some = conversation(8, 6, 2)
    order = scattered(rng, n_cells, longest_run)
    mine, order = order[:LENGTH], order[LENGTH:]
    start = data.draw(st.integers(0, LENGTH - 1), label="start")
    positions = list(range(start, min(LENGTH, start + data.draw(st.integers(1, 40), label="rows"))))
    all_rows = [Rows(some, positions, mine, window)]
    for i in range(n_others):
        n_shared = data.draw(st.sampled_from([0, 0, 64, 100, 200, LENGTH]), label="shared")
        own = order[: LENGTH - n_shared]
        order = order[LENGTH - n_shared :]
        if len(own) + n_shared < LENGTH:
            break
        other = conversation(100 + i, 6, 2)
        for mixed, shared in ((other.k, some.k), (other.v, some.v)):
            mixed[:n_shared] = shared[:n_shared]
        at = int(rng.integers(0, LENGTH))
        n_rows = data.draw(st.sampled_from([1, 1, 1, 30]), label="other's rows")
        cells = np.concatenate([mine[:n_shared], own])
        all_rows.append(Rows(other, list(range(at, min(LENGTH, at + n_rows))), cells, window))
    where = data.draw(st.integers(0, len(all_rows) - 1), label="place")
    all_rows.insert(where, all_rows.pop(0))
    before = sum(len(rows.positions) for rows in all_rows[:where])
    got = step(n_cells, *all_rows).run(level, kind, data.draw(st.integers(1, 4), label="threads"))
    for i in {0, len(positions) - 1}:
        alone = step(N_CELLS, Rows(some, [positions[i]], in_a_row(), window)).run(level, kind, 1)
        same(got[before + i], alone[0])


@pytest.mark.parametrize("level", levels())
def test_positions_that_are_not_known(level: int) -> None:
    """Then cells are taken in their order; those of a batch without a cache by the mask, so that company does not matter."""
    some = conversation(9, 4, 2, length=150)
    n = 150
    alone = np.zeros((n, n), np.float32)
    attention = Attention(q=some.q, k=some.k, v=some.v, mask=alone, scale=0.125)
    expected = attention.run(level, "f16")
    before = 77  # tokens of another text in the same batch
    other = conversation(10, 4, 2, length=before)
    mask = np.full((n + before, n + before), -np.inf, np.float32)
    mask[:before, :before] = mask[before:, before:] = 0.0
    q, k, v = (
        np.concatenate([a, b]) for a, b in zip(dataclasses.astuple(other), dataclasses.astuple(some), strict=True)
    )
    both = Attention(q=q, k=k, v=v, mask=mask, scale=0.125).run(level, "f16")
    if level in INTEGER_LEVELS:
        same(both[before:], expected)
    np.testing.assert_allclose(both[before:], expected, atol=0.02)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("positions", ["far apart", "twice"])
def test_positions_that_no_cache_has(level: int, positions: str) -> None:
    """Results are right where the canonical order is not possible."""
    some = conversation(11, 4, 2)
    plain = step(N_CELLS, Rows(some, [LENGTH - 1], in_a_row()))
    assert plain.positions is not None
    odd = plain.positions * (2**20) // 7 if positions == "far apart" else plain.positions // 2
    got = dataclasses.replace(plain, positions=odd.astype(np.int32)).run(level, "f16")
    np.testing.assert_allclose(got, plain.reference("f16"), atol=0.01, rtol=0.01)


@pytest.mark.parametrize("level", INTEGER_LEVELS)
def test_a_value_that_is_not_finite_stays_in_its_rows(level: int) -> None:
    """A block with such a value is computed by gather, which must give the bits of blocked."""
    some = conversation(12, 8, 2)
    clean = step(N_CELLS, Rows(some, list(range(260, LENGTH)), in_a_row())).run(level, "f16")
    some.v[300] = np.inf
    got = step(N_CELLS, Rows(some, list(range(260, LENGTH)), in_a_row())).run(level, "f16")
    same(got[:40], clean[:40])
    assert not np.isfinite(got[40:]).any()
