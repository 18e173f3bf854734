"""Which sequence lives in which slot, and who shares whose cells. Pure policy: the native memory is a protocol.

A slot (llama's seq_id) is free, running (a Sequence owns it), idle (a finished sequence, kept as a prefix for others until
its cells or its slot are needed) or pinned (idle, and never evicted). A new sequence takes over the longest idle prefix if
nothing of it is lost, or forks the longest one that there is: both then share its cells. What the host tier knows beyond
that is loaded behind it. Whose cells are whose stands in cells.py. All books hold the identities of sequences (sequence.py), so
that different tenants share pinned prefixes only.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass, field
from typing import Protocol

from llmcore.scheduling.host_cache import Cost, HostCache, by_count
from llmcore.scheduling.kv_ranges import KVRanges
from llmcore.scheduling.radix_tree import RadixTree
from llmcore.sequence import Sequence, shared

# Waiting for, saving or loading fewer tokens than this costs more than computing them.
N_WORTH_IT = 16

# Idle cells are masked, and cost llama.cpp attention time all the same: it attends to cells in steps of this many.
N_CELLS_STEP = 256


class SequenceMemory(Protocol):
    """The native memory of slots 0 to KVCache.n_slots; the last one is scratch."""

    @property
    def is_cuttable(self) -> bool:
        """Whether a sequence can go back to an earlier token at all. Recurrent states cannot."""

    @property
    def is_sliceable(self) -> bool:
        """Whether a part of a sequence can be saved and loaded. With a sliding window or a recurrent state only the whole."""

    @property
    def skips_foreign(self) -> bool:
        """Whether a row costs the attention of its own cells only, not of everybody's in the buffer."""

    def can_cut(self, slot: int, n: int) -> bool:
        """Whether the first n positions of a slot are whole, so that they can be kept or copied without the rest."""

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        """Makes positions [start, end) of `source` part of `target` too; of a memory that is not cuttable, everything."""

    def truncate(self, slot: int, n: int) -> bool:
        """Keeps the first n positions. False, and nothing changed, if it cannot."""

    def clear(self, slot: int) -> None: ...

    def save(self, slot: int) -> Sized:
        """The state of a slot, as bytes of some kind."""

    def load(self, slot: int, blob: Sized) -> bool:
        """Fills an empty slot with a state. False, and the slot is empty, if it cannot."""


@dataclass(eq=False)
class Slot:
    """`credit` says how much an idle one is worth to keep, `used` since when it is idle (see hosttier.py); `pin` is a pinned
    one's name."""

    tokens: list[int] = field(default_factory=list)  # those that have cells
    owner: Sequence | None = None
    pin: str | None = None
    credit: float = 0.0
    used: int = 0

    @property
    def is_held(self) -> bool:
        """Running or pinned: not to be evicted."""
        return self.owner is not None or self.pin is not None


class KVCache:
    """Slots 0 to n_slots - 1 over n_cells cells. `host` keeps what is evicted; `cost` weighs what it takes to compute it."""

    def __init__(
        self,
        memory: SequenceMemory,
        *,
        n_slots: int,
        n_cells: int,
        host: HostCache | None = None,
        cost: Cost = by_count,
    ) -> None:
        self._memory = memory
        self._host = host
        self._cost = cost
        self._slots = [Slot() for _ in range(n_slots)]
        self.cells = KVRanges(n_slots)
        self._tree = RadixTree()  # of slots, by the tokens that they hold or are going to hold
        self._level = 0.0
        self._tick = 0
        self._bytes_a_token = 0.0  # of a saved state, as last seen
        self.n_slots = n_slots
        self.n_cells = n_cells
        self.n_saved = 0
        self.n_restored = 0

    @property
    def slots(self) -> list[Slot]:
        """For looking at."""
        return self._slots

    @property
    def host(self) -> HostCache | None:
        return self._host

    @property
    def is_cuttable(self) -> bool:
        return self._memory.is_cuttable

    @property
    def n_cells_used(self) -> int:
        return self.cells.n_used

    def n_cells_attended(self, own: Iterable[tuple[int, int]]) -> int:
        """Cells that a token of a step looks at, on average, for the cost model: `own` are (tokens, the cells that each of
        them may see) of the step's rows."""
        if not self._memory.skips_foreign:
            return self.n_cells_used
        rows = list(own)
        n_tokens = sum(n for n, _ in rows)
        return sum(n * n_cells for n, n_cells in rows) // n_tokens if n_tokens else 0

    @property
    def n_cells_held(self) -> int:
        """Cells of running and pinned sequences: what eviction cannot free."""
        return self.cells.count(i for i, slot in enumerate(self._slots) if slot.is_held)

    @property
    def n_cells_pinned(self) -> int:
        return self.cells.count(i for i, slot in enumerate(self._slots) if slot.pin is not None)

    # --- What is known of a prompt ------------------------------------------------------------------------------------

    def known(self, tokens: list[int]) -> int:
        """How many of `tokens` need not be computed, as things stand. At least one always has to."""
        wanted = tokens[:-1]
        _, n = self._longest(wanted)
        return n if self._host is None else self._host.covered(wanted, n, whole=not self._memory.is_sliceable)

    def pending(self, tokens: list[int]) -> tuple[int, Sequence | None]:
        """(n, owner): a running sequence is about to compute the first n of `tokens`; (0, None) if none is."""
        for n, index in self._matches(tokens[:-1]):
            slot = self._slots[index]
            if slot.owner is None:
                continue
            if not self.is_cuttable:  # only where it stops to save its state can others go on from it
                stops = slot.owner.checkpoints if self._host is not None else ()
                n = max((each for each in stops if each <= n), default=0)
            if n > len(slot.tokens):
                return n, slot.owner
        return 0, None

    def n_cells_new(self, tokens: list[int]) -> int:
        """Cells that a sequence needs beyond those that running and pinned ones hold already."""
        if not self.is_cuttable:
            return len(tokens)
        held = (min(n, len(self._slots[i].tokens)) for n, i in self._matches(tokens) if self._slots[i].is_held)
        return len(tokens) - max(held, default=0)

    def held_by_pins(self, tokens: list[int]) -> int:
        """Pinned cells that a sequence of these tokens cannot share: so many fewer are there for it."""
        shared = max(
            (min(n, len(self._slots[i].tokens)) for n, i in self._tree.matches(tokens) if self._slots[i].pin), default=0
        )
        return self.n_cells_pinned - (shared if self.is_cuttable else 0)

    # --- A sequence's life --------------------------------------------------------------------------------------------

    def open(self, sequence: Sequence) -> bool:
        """Gives a sequence a slot, with the longest known prefix of its tokens in it. False if every slot is held.

        At least one token is left to compute, since its logits are needed.
        """
        identity = sequence.identity
        wanted = identity[:-1]
        source, n = self._longest(wanted)
        index = self._claim(source, n)
        if index < 0:
            return False
        self._slots[index].owner = sequence
        n_forked = len(self._slots[index].tokens)
        self._slots[index].tokens[:1] = wanted[: min(n_forked, 1)]  # a fork of a pinned prefix is the tenant's own
        self._restore(index, wanted)
        self._tree.insert(index, identity)
        sequence.slot = index
        sequence.n_cached = sequence.n_computed = len(self._slots[index].tokens)
        sequence.n_restored = max(sequence.n_cached - n_forked, 0)
        return True

    def reserve(self, n: int) -> bool:
        """Makes n cells free, evicting idle sequences where needed. False (and as many evicted as there were) if held ones
        have too many."""
        while self.n_cells - self.n_cells_used < n:
            victim = self._victim()
            if victim < 0:
                return False
            self._evict(victim)
        return True

    def append(self, sequence: Sequence, n: int) -> None:
        """The next n tokens of a running sequence were computed."""
        start = sequence.n_computed
        tokens = (sequence.tokens if start else sequence.identity)[start : start + n]
        sequence.n_computed += n
        self._grow(sequence.slot, tokens)
        if not self.is_cuttable and sequence.n_computed in sequence.checkpoints:
            self._save(sequence.slot)

    def rewind(self, sequence: Sequence, n: int | None = None) -> None:
        """Removes what a running sequence has beyond its first n tokens, or beyond what is computed (which a failed or
        aborted step may have left). Where that cannot be, it begins anew, or at what the host tier knows of it."""
        index = sequence.slot
        # An aborted step may have left half of itself in a state that cannot be cut: never trust that one.
        if not self.is_cuttable or not self._truncate(index, sequence.n_computed if n is None else n):
            self._empty(index)
            self._restore(index, sequence.identity[:-1])
        sequence.n_computed = len(self._slots[index].tokens)
        sequence.n_cached = min(sequence.n_cached, sequence.n_computed)
        self._tree.insert(index, sequence.identity)

    def close(self, sequence: Sequence, *, keep: bool = True, pin: str | None = None) -> None:
        """A running sequence gives its slot back. What it computed stays as an idle prefix if `keep` (otherwise only what it had
        found in the cache, where its memory can be cut), for good if `pin`ned under a name; an older one of that name becomes
        idle."""
        index = sequence.slot
        slot = self._slots[index]
        slot.owner = None
        if pin is not None:
            self.unpin(pin)
            slot.pin = pin if slot.tokens else None
        self._settle(index, keep=keep or (sequence.n_cached > 0 and self._truncate(index, sequence.n_cached)))
        sequence.slot, sequence.n_computed, sequence.n_cached = -1, 0, 0

    def unpin(self, name: str) -> bool:
        """Makes a pinned sequence an idle one. False if there is none of that name."""
        for slot in self._slots:
            if slot.pin == name:
                slot.pin = None
                return True
        return False

    def adopt(self, tokens: list[int], blob: Sized) -> bool:
        """Takes in a sequence that was saved elsewhere, as an idle one. False if it does not fit or cannot be loaded."""
        index = self._claim(-1, 0)
        if index < 0 or not self.reserve(len(tokens)) or not self._memory.load(index, blob):
            return False
        self._grow(index, tokens)
        self._settle(index)
        return True

    def export(self, name: str) -> tuple[list[int], Sized] | None:
        """Tokens and state of a pinned sequence, for adopt()."""
        for index, slot in enumerate(self._slots):
            if slot.pin == name:
                return list(slot.tokens), self._memory.save(index)
        return None

    def drop_idle(self) -> None:
        """Forgets all finished sequences, those in host memory too."""
        for index, slot in enumerate(self._slots):
            if not slot.is_held:
                self._empty(index)
        if self._host is not None:
            self._host.clear()

    def offload(self) -> bool:
        """Moves one idle sequence to the host tier, if idle cells are many and cost attention time in every step of others.
        Whether it did."""
        if self._host is None or not self._memory.is_sliceable or self._memory.skips_foreign:
            return False
        idle = self.n_cells_used - self.n_cells_held
        victim = self._victim()
        return idle >= N_CELLS_STEP and victim >= 0 and self._evict(victim, only_if_saved=True)

    # --- Choosing -----------------------------------------------------------------------------------------------------

    def _matches(self, tokens: list[int]) -> Iterator[tuple[int, int]]:
        """(n, slot) of those whose cells a sequence of that identity may share, the longest first: its tenant's, and pinned ones
        of everybody."""
        everybody = shared(tokens)
        if everybody[:1] == tokens[:1]:
            return self._tree.matches(tokens)
        pinned = ((n, i) for n, i in self._tree.matches(everybody) if self._slots[i].pin is not None)
        return heapq.merge(self._tree.matches(tokens), pinned, key=lambda match: -match[0])

    def _longest(self, tokens: list[int]) -> tuple[int, int]:
        """(slot, n) of the longest usable prefix of `tokens`; (-1, 0) if there is none."""
        best, best_n = -1, 0
        for n_alike, index in self._matches(tokens):
            if n_alike < best_n:
                break
            slot = self._slots[index]
            n = min(n_alike, len(slot.tokens))
            if n < max(best_n, 1) or (n < len(slot.tokens) and not self._memory.can_cut(index, n)):
                continue
            # Among equals an idle one, which can be taken over.
            if n > best_n or (not slot.is_held and self._slots[best].is_held):
                best, best_n = index, n
        return best, best_n

    def _claim(self, source: int, n: int) -> int:
        """A slot without owner that holds the first n tokens of `source` and no more, or -1."""
        is_idle = source >= 0 and not self._slots[source].is_held
        if is_idle and n == len(self._slots[source].tokens):
            return source  # nothing of it is lost
        target = next((i for i, slot in enumerate(self._slots) if not slot.is_held and not slot.tokens), -1)
        if target < 0:
            target = self._victim(spare=source)
            if target >= 0:
                self._evict(target)
        if target < 0 and is_idle:
            if not self._truncate(source, n):
                self._empty(source)
            return source
        if target >= 0 and source >= 0:
            self._fork(source, target, n)
        return target

    def _victim(self, spare: int = -1) -> int:
        """The idle sequence that is worth least, or -1."""
        idle = [i for i, slot in enumerate(self._slots) if slot.tokens and not slot.is_held and i != spare]
        return min(idle, key=lambda i: (self._slots[i].credit, self._slots[i].used), default=-1)

    def _evict(self, index: int, *, only_if_saved: bool = False) -> bool:
        if not self._save(index) and only_if_saved:
            return False
        self._level = max(self._level, self._slots[index].credit)
        self._empty(index)
        return True

    # --- The host tier ------------------------------------------------------------------------------------------------

    def _save(self, index: int) -> bool:
        """Copies to the host tier what nobody else keeps of a slot. Whether all of it is kept somewhere now."""
        host, slot, memory = self._host, self._slots[index], self._memory
        if host is None:
            return False
        if not memory.is_sliceable:
            start = 0
            if host.covered(slot.tokens, 0, whole=True) == len(slot.tokens):
                return True
        else:
            start = host.covered(slot.tokens, self.cells.n_shared(index))
        n = len(slot.tokens) - start
        if n < N_WORTH_IT:
            return True
        if n * self._bytes_a_token > host.n_bytes_max:
            return False
        if start == 0:
            blob = memory.save(index)
        else:
            memory.copy(index, self.n_slots, start, len(slot.tokens))
            blob = memory.save(self.n_slots)
            memory.clear(self.n_slots)
        self._bytes_a_token = len(blob) / n
        self.n_saved += 1
        return host.put(slot.tokens, start, blob)

    def _restore(self, index: int, tokens: list[int]) -> None:
        """Loads what the host tier knows of `tokens` behind what a slot has of them."""
        host, slot, memory = self._host, self._slots[index], self._memory
        while host is not None:
            n_have = len(slot.tokens)
            found = host.best(tokens, n_have, whole=not memory.is_sliceable)
            if found is None or found[0] - n_have < N_WORTH_IT:
                return
            n, entry = found
            if not self.reserve(len(entry.tokens) - entry.start):
                return
            if memory.is_sliceable:
                loaded = memory.load(self.n_slots, entry.blob)
                if loaded:
                    memory.copy(self.n_slots, index, n_have, n)
                    memory.clear(self.n_slots)
            else:
                self._empty(index)
                n_have, loaded = 0, memory.load(index, entry.blob)
            if not loaded:
                host.drop(entry)
                continue
            self._grow(index, entry.tokens[n_have:n])
            host.touch(entry)
            self.n_restored += 1

    # --- Slots --------------------------------------------------------------------------------------------------------

    def _grow(self, index: int, tokens: list[int]) -> None:
        """Tokens of a slot got cells of their own."""
        self._slots[index].tokens += tokens
        self.cells.grow(index, len(tokens))

    def _settle(self, index: int, *, keep: bool = True) -> None:
        """A slot has no owner (any more): it becomes an idle or pinned prefix, or empty."""
        slot = self._slots[index]
        if not keep or not slot.tokens:
            self._empty(index)
            return
        self._tick += 1
        slot.used = self._tick
        slot.credit = self._level + self._cost(0, len(slot.tokens)) / len(slot.tokens)
        self._tree.insert(index, slot.tokens)

    def _fork(self, source: int, target: int, n: int) -> None:
        self._memory.copy(source, target, 0, n)
        self.cells.share(source, target, n)
        self._slots[target].tokens = self._slots[source].tokens[:n]

    def _truncate(self, index: int, n: int) -> bool:
        slot = self._slots[index]
        if n < len(slot.tokens) and not self._memory.can_cut(index, n):
            return False
        if not self._memory.truncate(index, n):
            return False
        self.cells.cut(index, n)
        del slot.tokens[n:]
        return True

    def _empty(self, index: int) -> None:
        self._memory.clear(index)
        self.cells.cut(index, 0)
        self._slots[index].tokens = []
        self._tree.remove(index)
