"""Which sequence lives in which slot, and who shares whose cells. Pure policy: the native memory is a protocol.

A slot (llama's seq_id) is free, running (a Sequence owns it) or cached (a finished sequence, kept as a prefix for others
until its cells or its slot are needed, least recently used first). A new sequence takes over the longest cached prefix, or
forks it: both then share its cells.

Who owns which cells is kept as runs: a run is a stretch of consecutive cells with the slots that hold it.

    slot 0   [── run a ──][─ run b ─]
    slot 1   [── run a ──][── run c ──]      cells used: a + b + c
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from llmcore.prefix import common_prefix
from llmcore.sequence import Sequence


class Memory(Protocol):
    """The native memory. `can_truncate`: whether a part of a sequence can be removed at any token."""

    @property
    def can_truncate(self) -> bool: ...

    def copy(self, source: int, target: int, n: int) -> None:
        """Makes the first n positions of `source` part of the empty slot `target`."""

    def truncate(self, slot: int, n: int) -> bool:
        """Keeps the first n positions. False, and nothing changed, if it cannot."""

    def clear(self, slot: int) -> None: ...


@dataclass(eq=False)
class _Run:
    n: int
    slots: set[int]


@dataclass(eq=False)
class _Slot:
    tokens: list[int] = field(default_factory=list)  # those that have cells
    runs: list[_Run] = field(default_factory=list)
    owner: Sequence | None = None
    used: int = 0  # when it was last released, as a tick


class KVCache:
    """Slots 0 to n_slots - 1 over n_cells cells."""

    def __init__(self, memory: Memory, *, n_slots: int, n_cells: int) -> None:
        self._memory = memory
        self._slots = [_Slot() for _ in range(n_slots)]
        self._tick = 0
        self.n_cells = n_cells
        self.n_cells_used = 0

    @property
    def n_cells_pinned(self) -> int:
        """Cells that running sequences hold: what eviction cannot free."""
        runs = {id(run): run.n for slot in self._slots if slot.owner is not None for run in slot.runs}
        return sum(runs.values())

    # --- A sequence's life --------------------------------------------------------------------------------------------

    def open(self, sequence: Sequence) -> bool:
        """Gives a sequence a slot, with the longest cached prefix of its tokens in it. False if every slot is running.

        At least one token is left to compute, since its logits are needed.
        """
        source, n = self._longest(sequence.tokens[:-1])
        slot = self._claim(source, n)
        if slot < 0:
            return False
        self._slots[slot].owner = sequence
        sequence.slot, sequence.n_cached, sequence.n_computed = slot, len(self._slots[slot].tokens), 0
        sequence.n_computed = sequence.n_cached
        return True

    def reserve(self, n: int) -> bool:
        """Makes n cells free, dropping cached sequences where needed. False (and as many dropped as there were) if running
        sequences hold too many."""
        while self.n_cells - self.n_cells_used < n:
            victim = self._least_recent()
            if victim < 0:
                return False
            self._drop(victim)
        return True

    def drop_cached(self) -> None:
        """Forgets all finished sequences."""
        for index, slot in enumerate(self._slots):
            if slot.owner is None:
                self._drop(index)

    def append(self, sequence: Sequence, n: int) -> None:
        """The next n tokens of a running sequence were computed."""
        slot = self._slots[sequence.slot]
        slot.tokens += sequence.tokens[sequence.n_computed : sequence.n_computed + n]
        sequence.n_computed += n
        if slot.runs and slot.runs[-1].slots == {sequence.slot}:
            slot.runs[-1].n += n
        else:
            slot.runs.append(_Run(n, {sequence.slot}))
        self.n_cells_used += n

    def rewind(self, sequence: Sequence) -> None:
        """Removes what a failed or aborted step may have left beyond the computed tokens of a running sequence."""
        if self._memory.truncate(sequence.slot, sequence.n_computed):
            return
        self._drop(sequence.slot)
        self._slots[sequence.slot].owner = sequence
        sequence.n_cached = sequence.n_computed = 0

    def close(self, sequence: Sequence, *, keep: bool = True) -> None:
        """A running sequence gives its slot back; what it computed stays as a cached prefix if `keep`."""
        slot = self._slots[sequence.slot]
        slot.owner = None
        self._tick += 1
        slot.used = self._tick
        if not keep or not slot.tokens:
            self._drop(sequence.slot)
        sequence.slot, sequence.n_computed, sequence.n_cached = -1, 0, 0

    # --- Choosing -----------------------------------------------------------------------------------------------------

    def _longest(self, tokens: list[int]) -> tuple[int, int]:
        """(slot, n) of the longest usable prefix of `tokens`; (-1, 0) if there is none."""
        best, best_n = -1, 0
        for index, slot in enumerate(self._slots):
            n = common_prefix(slot.tokens, tokens)
            if not self._memory.can_truncate and n < len(slot.tokens):
                continue  # it could only be used whole
            # Among equals an idle one, which can be taken over.
            if n > best_n or (n == best_n > 0 and slot.owner is None and self._slots[best].owner is not None):
                best, best_n = index, n
        return best, best_n

    def _claim(self, source: int, n: int) -> int:
        """A slot without owner that holds the first n tokens of `source` and no more, or -1."""
        if source >= 0 and self._slots[source].owner is None and n == len(self._slots[source].tokens):
            return source  # nothing of it is lost
        target = next((i for i, slot in enumerate(self._slots) if slot.owner is None and not slot.tokens), -1)
        if target < 0:
            target = self._least_recent(spare=source)
        if target < 0:
            target = source if source >= 0 and self._slots[source].owner is None else -1
        if target < 0:
            return -1
        if target == source:
            return source if self._truncate(source, n) else self._drop(source)
        self._drop(target)
        if source >= 0:
            self._fork(source, target, n)
        return target

    def _least_recent(self, spare: int = -1) -> int:
        cached = [i for i, slot in enumerate(self._slots) if slot.owner is None and slot.tokens and i != spare]
        return min(cached, key=lambda i: self._slots[i].used, default=-1)

    # --- Cells --------------------------------------------------------------------------------------------------------

    def _fork(self, source: int, target: int, n: int) -> None:
        self._memory.copy(source, target, n)
        self._split(source, n)
        held = 0
        for run in self._slots[source].runs:
            if held == n:
                break
            held += run.n
            run.slots.add(target)
            self._slots[target].runs.append(run)
        self._slots[target].tokens = self._slots[source].tokens[:n]

    def _truncate(self, index: int, n: int) -> bool:
        if not self._memory.truncate(index, n):
            return False
        slot = self._slots[index]
        self._split(index, n)
        held = 0
        for run in list(slot.runs):
            if held >= n:
                self._leave(index, run)
            held += run.n
        del slot.tokens[n:]
        return True

    def _drop(self, index: int) -> int:
        """Empties a slot; returns it."""
        slot = self._slots[index]
        if slot.tokens:
            self._memory.clear(index)
        for run in list(slot.runs):
            self._leave(index, run)
        slot.tokens, slot.owner = [], None
        return index

    def _leave(self, index: int, run: _Run) -> None:
        self._slots[index].runs.remove(run)
        run.slots.discard(index)
        if not run.slots:
            self.n_cells_used -= run.n

    def _split(self, index: int, n: int) -> None:
        """Makes a boundary between runs at position n of a slot, for every slot that shares the run there."""
        start = 0
        for run in self._slots[index].runs:
            if start < n < start + run.n:
                tail = _Run(start + run.n - n, set(run.slots))
                run.n = n - start
                for holder in run.slots:
                    runs = self._slots[holder].runs
                    runs.insert(runs.index(run) + 1, tail)
                return
            start += run.n
