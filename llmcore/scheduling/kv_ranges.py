"""Cells of each slot, as ranges. A range is a stretch of consecutive cells with the slots that share it.

slot 0   [── range a ──][─ range b ─]
slot 1   [── range a ──][── range c ──]      cells used: a + b + c
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(eq=False)
class KVRange:
    n: int
    slots: set[int]


class KVRanges:
    """Ranges of each slot, in the order of positions. `n_used` counts each cell once."""

    def __init__(self, n_slots: int) -> None:
        self._ranges: list[list[KVRange]] = [[] for _ in range(n_slots)]
        self.n_used = 0

    def of(self, slot: int) -> list[KVRange]:
        """Ranges of a slot, to be read only."""
        return self._ranges[slot]

    def count(self, slots: Iterable[int]) -> int:
        """Number of cells that these slots hold, with shared ones counted once."""
        return sum({id(each): each.n for slot in slots for each in self._ranges[slot]}.values())

    def n_shared(self, slot: int) -> int:
        """Number of the first cells of a slot that others hold as well."""
        n = 0
        for each in self._ranges[slot]:
            if len(each.slots) == 1:
                break
            n += each.n
        return n

    def grow(self, slot: int, n: int) -> None:
        """Gives a slot n more cells of its own."""
        ranges = self._ranges[slot]
        if ranges and ranges[-1].slots == {slot}:
            ranges[-1].n += n
        elif n:
            ranges.append(KVRange(n, {slot}))
        self.n_used += n

    def share(self, source: int, target: int, n: int) -> None:
        """Gives the first n cells of `source` to the empty slot `target` too."""
        self._split(source, n)
        n_seen = 0
        for each in self._ranges[source]:
            if n_seen == n:
                break
            n_seen += each.n
            each.slots.add(target)
            self._ranges[target].append(each)

    def cut(self, slot: int, n: int) -> None:
        """Leaves a slot its first n cells."""
        self._split(slot, n)
        n_seen = 0
        for each in list(self._ranges[slot]):
            if n_seen >= n:
                self._ranges[slot].remove(each)
                each.slots.discard(slot)
                self.n_used -= 0 if each.slots else each.n
            n_seen += each.n

    def _split(self, slot: int, n: int) -> None:
        """Makes a boundary between ranges at position n of a slot, in every slot that shares the range there."""
        start = 0
        for each in self._ranges[slot]:
            if start < n < start + each.n:
                tail = KVRange(start + each.n - n, set(each.slots))
                each.n = n - start
                for sharer in each.slots:
                    ranges = self._ranges[sharer]
                    ranges.insert(ranges.index(each) + 1, tail)
                return
            start += each.n
