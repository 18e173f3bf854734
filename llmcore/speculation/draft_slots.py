"""Slots of a draft model's context: which tokens have cells there, and for which sequence. Pure policy over a memory.

A draft model has cells of its own, which follow the target's sequences: a new sequence forks the longest prefix that another one
of its tenant has computed, a rejected draft is cut, and what a finished sequence computed stays as a prefix for others until its
slot or its cells are needed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from llmcore.sequence import Sequence, common_prefix


class DraftMemory(Protocol):
    """Cells of a draft model by slot."""

    def copy(self, source: int, target: int, n: int) -> bool:
        """Gives the empty slot `target` the cells of the first n tokens of `source`. Returns False, and changes nothing, if the
        memory cannot do that."""
        ...

    def truncate(self, slot: int, n: int) -> bool:
        """Removes the cells behind the first n tokens. Returns False, and changes nothing, if the memory cannot do that."""
        ...

    def clear(self, slot: int) -> None:
        """Removes all cells of a slot."""
        ...


@dataclass(eq=False)
class DraftSlot:
    """Cells of `tokens`. `owner` is None for a free slot (no tokens) and for a kept prefix."""

    index: int
    tokens: list[int] = field(default_factory=list)
    owner: Sequence | None = None
    tenant: int = 0
    used: int = 0  # time of its last use, in acquisitions
    n_sure: int = 0  # tokens that are known to be the owner's
    n_dropped: int = 0  # the owner's, when that was known


class DraftSlots:
    """All slots of a draft model's context."""

    def __init__(self, memory: DraftMemory, n_slots: int) -> None:
        self._memory = memory
        self._slots = [DraftSlot(index) for index in range(n_slots)]
        self._owned: dict[Sequence, DraftSlot] = {}
        self._n_acquired = 0

    def __getitem__(self, index: int) -> DraftSlot:
        return self._slots[index]

    def acquire(self, sequence: Sequence) -> DraftSlot | None:
        """Returns the slot of a sequence, cut to a beginning of its tokens that leaves at least one to compute. Returns None if all
        slots belong to other sequences."""
        slot = self._owned.get(sequence) or self._claim(sequence)
        if slot is None:
            return None
        self._n_acquired += 1
        slot.used = self._n_acquired
        n = self._n_common(slot, sequence)
        self._cut(slot, min(n, len(sequence.tokens) - 1))
        slot.n_sure, slot.n_dropped = len(slot.tokens), sequence.n_dropped
        return slot

    def release(self, sequence: Sequence) -> None:
        """Keeps the cells of a sequence that has ended as a prefix for others."""
        slot = self._owned.pop(sequence, None)
        if slot is not None:
            slot.owner = None

    def evict(self, busy: Collection[int]) -> bool:
        """Empties a slot that is not busy: the least recently used one without an owner, else with one. Returns False if there is
        none with cells."""
        others = [slot for slot in self._slots if slot.tokens and slot.index not in busy]
        if not others:
            return False
        self.empty(min(others, key=lambda slot: (slot.owner is not None, slot.used)))
        return True

    def drop_kept(self) -> None:
        """Empties all slots without an owner."""
        for slot in self._slots:
            if slot.owner is None and slot.tokens:
                self.empty(slot)

    def empty(self, slot: DraftSlot) -> None:
        """Removes all cells of a slot. Its owner begins anew."""
        self._memory.clear(slot.index)
        slot.tokens.clear()
        slot.n_sure = 0

    def _claim(self, sequence: Sequence) -> DraftSlot | None:
        """Takes a slot that no sequence owns, with the longest known prefix in it: the one that has no more than that, else
        an empty one, else the least recently used one, into which the prefix is forked."""
        source, n = self._longest(sequence)
        if source is not None and source.owner is None and n == len(source.tokens):
            slot = source
        else:
            free = min((each for each in self._slots if each.owner is None), key=_first_to_claim, default=None)
            if free is None:
                return None
            slot = free
        if source is not slot:
            self.empty(slot)
            if source is not None and self._memory.copy(source.index, slot.index, n):
                slot.tokens = source.tokens[:n]
        slot.owner, slot.tenant, slot.n_sure = sequence, sequence.tenant, 0
        self._owned[sequence] = slot
        return slot

    def _longest(self, sequence: Sequence) -> tuple[DraftSlot | None, int]:
        """Returns the slot of the same tenant with the longest common prefix, and its length."""
        best, best_n = None, 0
        for slot in self._slots:
            if slot.tokens and slot.tenant == sequence.tenant:
                n = common_prefix(slot.tokens, sequence.tokens)
                if n > best_n:
                    best, best_n = slot, n
        return best, best_n

    def _n_common(self, slot: DraftSlot, sequence: Sequence) -> int:
        n = slot.n_sure if slot.n_dropped == sequence.n_dropped else 0
        return n + common_prefix(slot.tokens[n:], sequence.tokens[n:])

    def _cut(self, slot: DraftSlot, n: int) -> None:
        if n < len(slot.tokens):
            if n > 0 and self._memory.truncate(slot.index, n):
                del slot.tokens[n:]
            else:
                self.empty(slot)


def _first_to_claim(slot: DraftSlot) -> tuple[bool, int]:
    return bool(slot.tokens), slot.used
