"""Slots (llama's seq_ids): the tokens that each one holds, its cells, and which slots begin alike.

Every change is made here, in the native memory and in the books at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from llmcore.scheduling.kv_ranges import KVRanges
from llmcore.scheduling.radix_tree import RadixTree
from llmcore.scheduling.sequence_memory import SequenceMemory
from llmcore.scheduling.tenant_trees import TenantTrees
from llmcore.sequence import Sequence


@dataclass(eq=False)
class Slot:
    """State of one slot: running (it has an owner), pinned (it has a name), idle (tokens alone) or free.

    `tokens` are those that have cells. `credit` is how much an idle slot is worth keeping (see host_cache.py), `used` the tick
    at which it became idle.
    """

    tokens: list[int] = field(default_factory=list)
    tenant: int = 0
    owner: Sequence | None = None
    pin: str | None = None
    credit: float = 0.0
    used: int = 0

    @property
    def is_held(self) -> bool:
        """True if it is running or pinned, so that it must not be evicted."""
        return self.owner is not None or self.pin is not None


class Slots:
    """Slots 0 to n_slots - 1 of a memory, and `ranges`, their cells.

    Each slot is indexed by the tokens that it holds or is about to hold. Pinned slots are in one radix tree for all tenants, all
    others in a tree of their tenant.
    """

    def __init__(self, memory: SequenceMemory, n_slots: int) -> None:
        self.memory = memory
        self.ranges = KVRanges(n_slots)
        self._slots = [Slot() for _ in range(n_slots)]
        self._tenants = TenantTrees()
        self._pins = RadixTree()

    def __len__(self) -> int:
        return len(self._slots)

    def __getitem__(self, index: int) -> Slot:
        return self._slots[index]

    def __iter__(self) -> Iterator[Slot]:
        return iter(self._slots)

    def where(self, *, is_held: bool) -> Iterable[int]:
        """Indices of the slots that are held, or of those that are not."""
        return (i for i, slot in enumerate(self._slots) if slot.is_held == is_held)

    def pinned(self) -> Iterable[int]:
        """Indices of the pinned slots."""
        return (i for i, slot in enumerate(self._slots) if slot.pin is not None)

    def find_pin(self, name: str) -> int:
        """Returns the index of the slot pinned under a name, or -1."""
        return next((i for i, slot in enumerate(self._slots) if slot.pin == name), -1)

    # --- Which slots begin alike --------------------------------------------------------------------------------------

    def matches(self, tokens: list[int], tenant: int) -> Iterator[tuple[int, int]]:
        """Yields (n, index) of slots with cells that a sequence of this tenant may share, the longest match first: the tenant's
        own slots and all pinned ones."""
        own, pinned = self._tenants.matches(tenant, tokens), self._pins.matches(tokens)
        return heapq.merge(own, pinned, key=lambda match: (-match[0], match[1]))

    def n_shared_with_pins(self, tokens: list[int]) -> int:
        """Number of pinned cells that a sequence of these tokens can share."""
        return max((min(n, len(self._slots[i].tokens)) for n, i in self._pins.matches(tokens)), default=0)

    def announce(self, index: int, tokens: list[int]) -> None:
        """Indexes a slot by the tokens that it holds or is about to hold."""
        slot = self._slots[index]
        self._forget(index)
        if slot.pin is None:
            self._tenants.insert(index, slot.tenant, tokens)
        else:
            self._pins.insert(index, tokens)

    def _forget(self, index: int) -> None:
        self._tenants.remove(index)
        self._pins.remove(index)

    # --- Changes ------------------------------------------------------------------------------------------------------

    def grow(self, index: int, tokens: list[int]) -> None:
        """Records that tokens of a slot have got cells of their own."""
        self._slots[index].tokens += tokens
        self.ranges.grow(index, len(tokens))

    def fork(self, source: int, target: int, n: int) -> None:
        """Makes the first n cells of `source` those of the empty slot `target` too."""
        self.memory.copy(source, target, 0, n)
        self.ranges.share(source, target, n)
        self._slots[target].tokens = self._slots[source].tokens[:n]

    def truncate(self, index: int, n: int) -> bool:
        """Keeps the first n tokens of a slot. Returns False, with nothing changed, if the memory cannot do that."""
        slot = self._slots[index]
        if n < len(slot.tokens) and not self.memory.can_cut(index, n):
            return False
        if not self.memory.truncate(index, n):
            return False
        self.ranges.cut(index, n)
        del slot.tokens[n:]
        return True

    def empty(self, index: int) -> None:
        """Removes all tokens of a slot."""
        self.memory.clear(index)
        self.ranges.cut(index, 0)
        self._slots[index].tokens = []
        self._forget(index)

    def unpin(self, index: int) -> None:
        """Makes a pinned slot an idle one of its tenant."""
        self._slots[index].pin = None
        self.announce(index, self._slots[index].tokens)
