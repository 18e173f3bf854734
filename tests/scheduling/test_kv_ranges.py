"""Cells against plain sets: every slot a list of cell numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore.scheduling.kv_ranges import KVRanges


def test_a_shared_beginning_is_counted_once() -> None:
    cells = KVRanges(3)
    cells.grow(0, 10)
    cells.share(0, 1, 6)
    cells.grow(1, 5)
    assert cells.n_used == 15
    assert cells.count([0, 1]) == 15
    assert (cells.count([0]), cells.count([1]), cells.count([])) == (10, 11, 0)
    assert (cells.n_shared(0), cells.n_shared(1), cells.n_shared(2)) == (6, 6, 0)
    cells.cut(0, 0)
    assert (cells.n_used, cells.n_shared(1)) == (11, 0)


change = st.tuples(st.sampled_from(["grow", "share", "cut"]), st.integers(0, 3), st.integers(0, 3), st.integers(0, 9))


@given(st.lists(change, max_size=40))
def test_runs_say_what_sets_say(changes: list[tuple[str, int, int, int]]) -> None:
    cells, plain, n_made = KVRanges(4), [[] for _ in range(4)], 0  # type: ignore[var-annotated]
    for what, slot, other, n in changes:
        if what == "grow":
            cells.grow(slot, n)
            plain[slot] += range(n_made, n_made + n)
            n_made += n
        elif what == "share" and slot != other and not plain[other]:
            n = min(n, len(plain[slot]))
            cells.share(slot, other, n)
            plain[other] = plain[slot][:n]
        elif what == "cut":
            cells.cut(slot, n)
            del plain[slot][n:]
        assert cells.n_used == len(set().union(*plain))
        for i, held in enumerate(plain):
            assert cells.count([i]) == len(held)
            others = set().union(*(each for j, each in enumerate(plain) if j != i))
            first_own = next((at for at, cell in enumerate(held) if cell not in others), len(held))
            assert cells.n_shared(i) == first_own
