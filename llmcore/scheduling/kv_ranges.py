"""Who owns which cells: a run is a stretch of consecutive cells, with the slots that hold it.

slot 0   [── run a ──][─ run b ─]
slot 1   [── run a ──][── run c ──]      cells used: a + b + c
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(eq=False)
class KVRange:
    n: int
    slots: set[int]


class KVRanges:
    """The runs of each slot, in the order of positions. `n_used` counts each cell once."""

    def __init__(self, n_slots: int) -> None:
        self._runs: list[list[KVRange]] = [[] for _ in range(n_slots)]
        self.n_used = 0

    def runs(self, slot: int) -> list[KVRange]:
        """For looking at."""
        return self._runs[slot]

    def count(self, slots: Iterable[int]) -> int:
        """Cells that these slots hold, shared ones counted once."""
        return sum({id(run): run.n for slot in slots for run in self._runs[slot]}.values())

    def n_shared(self, slot: int) -> int:
        """The first cells of a slot that others hold as well."""
        n = 0
        for run in self._runs[slot]:
            if len(run.slots) == 1:
                break
            n += run.n
        return n

    def grow(self, slot: int, n: int) -> None:
        """A slot got n more cells of its own."""
        runs = self._runs[slot]
        if runs and runs[-1].slots == {slot}:
            runs[-1].n += n
        elif n:
            runs.append(KVRange(n, {slot}))
        self.n_used += n

    def share(self, source: int, target: int, n: int) -> None:
        """The first n cells of `source` belong to the empty slot `target` too."""
        self._split(source, n)
        held = 0
        for run in self._runs[source]:
            if held == n:
                break
            held += run.n
            run.slots.add(target)
            self._runs[target].append(run)

    def cut(self, slot: int, n: int) -> None:
        """A slot keeps its first n cells."""
        self._split(slot, n)
        held = 0
        for run in list(self._runs[slot]):
            if held >= n:
                self._runs[slot].remove(run)
                run.slots.discard(slot)
                self.n_used -= 0 if run.slots else run.n
            held += run.n

    def _split(self, slot: int, n: int) -> None:
        """Makes a boundary between runs at position n of a slot, for every slot that shares the run there."""
        start = 0
        for run in self._runs[slot]:
            if start < n < start + run.n:
                tail = KVRange(start + run.n - n, set(run.slots))
                run.n = n - start
                for holder in run.slots:
                    runs = self._runs[holder]
                    runs.insert(runs.index(run) + 1, tail)
                return
            start += run.n
