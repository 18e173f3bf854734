"""KV cache: the slot of each sequence, and the prefixes that are kept. Pure policy: the native memory is a protocol.

A slot (llama's seq_id) is free, running (a Sequence owns it), idle (a finished sequence, kept as a prefix for others until
its cells or its slot are needed) or pinned (idle, and never evicted). A new sequence takes over the longest idle prefix if
that loses nothing of it, or forks the longest prefix that there is: both then share its cells. Tokens beyond that are loaded
from the host cache if it has them. Tenants share pinned prefixes only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sized

from llmcore.scheduling.host_cache import Cost, HostCache, by_count
from llmcore.scheduling.host_transfer import HostTransfer
from llmcore.scheduling.sequence_memory import SequenceMemory
from llmcore.scheduling.slots import Slots
from llmcore.sequence import SHARED_TENANT, Sequence

# Idle cells are masked, and cost llama.cpp attention time all the same: it attends to cells in steps of this many.
N_CELLS_STEP = 256


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
        self._cost = cost
        self._slots = Slots(memory, n_slots)
        self._transfer = None if host is None else HostTransfer(self._slots, host, self.reserve)
        self._level = 0.0  # credit of what was last evicted
        self._tick = 0
        self.host = host
        self.n_cells = n_cells

    @property
    def slots(self) -> Slots:
        """All slots, to be read only."""
        return self._slots

    @property
    def n_slots(self) -> int:
        return len(self._slots)

    @property
    def is_cuttable(self) -> bool:
        """True if a sequence can go back to an earlier token."""
        return self._memory.is_cuttable

    @property
    def n_saved(self) -> int:
        """Number of states saved to the host cache since the start."""
        return 0 if self._transfer is None else self._transfer.n_saved

    @property
    def n_restored(self) -> int:
        """Number of states loaded from the host cache since the start."""
        return 0 if self._transfer is None else self._transfer.n_restored

    # --- Cells --------------------------------------------------------------------------------------------------------

    @property
    def n_cells_used(self) -> int:
        return self._slots.ranges.n_used

    @property
    def n_cells_held(self) -> int:
        """Number of cells of running and pinned sequences, which eviction cannot free."""
        return self._slots.ranges.count(self._slots.where(is_held=True))

    @property
    def n_cells_pinned(self) -> int:
        return self._slots.ranges.count(self._slots.pinned())

    def n_cells_attended(self, rows: Iterable[tuple[int, int]]) -> int:
        """Mean number of cells that a token of a step attends to, for the cost model.

        Args:
            rows: for each row of the step, its number of tokens and the cells that each of them may see.
        """
        if not self._memory.skips_foreign:
            return self.n_cells_used
        rows = list(rows)
        n_tokens = sum(n for n, _ in rows)
        return sum(n * n_cells for n, n_cells in rows) // n_tokens if n_tokens else 0

    def n_cells_new(self, sequence: Sequence) -> int:
        """Number of cells that a sequence needs beyond those that running and pinned ones hold already."""
        n_tokens = len(sequence.tokens)
        if not self.is_cuttable:
            return n_tokens
        matches = self._slots.matches(sequence.tokens, sequence.tenant)
        held = (min(n, len(self._slots[i].tokens)) for n, i in matches if self._slots[i].is_held)
        return n_tokens - max(held, default=0)

    def n_cells_pinned_beside(self, tokens: list[int]) -> int:
        """Number of pinned cells that a sequence of these tokens cannot share, and that are therefore lost to it."""
        return self.n_cells_pinned - (self._slots.n_shared_with_pins(tokens) if self.is_cuttable else 0)

    # --- What is known of a prompt ------------------------------------------------------------------------------------

    def n_known(self, sequence: Sequence) -> int:
        """Number of the sequence's tokens that need not be computed, as things stand. At least one always has to be."""
        tokens = sequence.tokens[: sequence.n_cacheable]
        _, n = self._longest(tokens, sequence.tenant)
        return n if self._transfer is None else self._transfer.n_known(tokens, sequence.tenant, n)

    def pending(self, sequence: Sequence) -> tuple[int, Sequence | None]:
        """Returns (n, owner) if a running sequence is about to compute the first n tokens of this one, or (0, None)."""
        for n, index in self._slots.matches(sequence.tokens[: sequence.n_cacheable], sequence.tenant):
            slot = self._slots[index]
            if slot.owner is None:
                continue
            if not self.is_cuttable:  # others can continue only from where its state is saved
                stops = slot.owner.checkpoints if self.host is not None else ()
                n = max((each for each in stops if each <= n), default=0)
            if n > len(slot.tokens):
                return n, slot.owner
        return 0, None

    # --- A sequence's life --------------------------------------------------------------------------------------------

    def acquire(self, sequence: Sequence) -> bool:
        """Gives a sequence a slot, with the longest known prefix of its tokens in it. Returns False if every slot is held.

        At least one token is left to compute, since its logits are needed.
        """
        tokens = sequence.tokens[: sequence.n_cacheable]
        source, n = self._longest(tokens, sequence.tenant)
        index = self._claim(source, n)
        if index < 0:
            return False
        slot = self._slots[index]
        slot.owner, slot.tenant = sequence, sequence.tenant
        n_forked = len(slot.tokens)
        self._restore(index, tokens)
        self._slots.announce(index, sequence.tokens)
        sequence.slot = index
        sequence.n_cached = sequence.n_computed = len(slot.tokens)
        sequence.n_restored = max(sequence.n_cached - n_forked, 0)
        return True

    def reserve(self, n: int) -> bool:
        """Makes n cells free, evicting idle sequences where needed. Returns False if held sequences leave too few cells; all
        idle ones are evicted then."""
        while self.n_cells - self.n_cells_used < n:
            victim = self._victim()
            if victim < 0:
                return False
            self._evict(victim)
        return True

    def append(self, sequence: Sequence, n: int, n_drafted: int = 0) -> None:
        """Records that the next n tokens of a running sequence were computed, and n_drafted tokens of a draft behind them. Of
        these, accept() takes over those that turn out to be the next ones, and cut() removes the others."""
        start = sequence.n_computed
        sequence.n_computed += n
        sequence.n_drafted = n_drafted
        self._slots.grow(sequence.slot, sequence.tokens[start : start + n])
        if self._transfer is not None and not self.is_cuttable and sequence.n_computed in sequence.checkpoints:
            self._transfer.save(sequence.slot)

    def accept(self, sequence: Sequence, n: int) -> None:
        """Records that the next n tokens of a running sequence agree with its draft, so that they have cells."""
        assert n <= sequence.n_drafted
        self.append(sequence, n, sequence.n_drafted - n)

    def cut(self, sequence: Sequence) -> None:
        """Removes the cells of draft tokens that were not accepted. Nothing else may read its cells before. If the draft has taken
        cells in a sliding window that the next token attends to, the sequence begins anew."""
        index, n = sequence.slot, sequence.n_computed
        if sequence.n_drafted and not (self._memory.can_cut(index, n) and self._slots.truncate(index, n)):
            self._begin_anew(sequence)
        sequence.n_drafted = 0

    def rewind(self, sequence: Sequence, n: int | None = None) -> None:
        """Removes everything behind the first n tokens of a running sequence, or behind what is computed (a failed or aborted
        step may have left more). If the memory cannot do that, the sequence begins anew, or at what the host cache has of it."""
        n = sequence.n_computed if n is None else n
        # An aborted step may have left half of itself in a state that cannot be cut: never trust that one.
        if self.is_cuttable and self._slots.truncate(sequence.slot, n):
            self._recount(sequence)
        else:
            self._begin_anew(sequence)

    def _begin_anew(self, sequence: Sequence) -> None:
        """Empties the slot of a running sequence, but for what the host cache has of it."""
        self._slots.empty(sequence.slot)
        self._restore(sequence.slot, sequence.tokens[: sequence.n_cacheable])
        self._recount(sequence)

    def _recount(self, sequence: Sequence) -> None:
        sequence.n_computed, sequence.n_drafted = len(self._slots[sequence.slot].tokens), 0
        sequence.n_cached = min(sequence.n_cached, sequence.n_computed)
        self._slots.announce(sequence.slot, sequence.tokens)

    def release(self, sequence: Sequence, *, keep: bool = True, pin: str | None = None) -> None:
        """Takes the slot of a running sequence back.

        Args:
            keep: what the sequence computed stays as an idle prefix. Otherwise only what it had found in the cache stays, if the
                memory can be cut there.
            pin: what it computed stays for good under this name; an older prefix of that name becomes idle.
        """
        self.cut(sequence)
        index = sequence.slot
        slot = self._slots[index]
        slot.owner = None
        if pin is not None:
            self.unpin(pin)
            slot.pin = pin if slot.tokens else None
        is_kept = keep or (sequence.n_cached > 0 and self._slots.truncate(index, sequence.n_cached))
        self._settle(index, keep=is_kept)
        sequence.slot, sequence.n_computed, sequence.n_cached = -1, 0, 0

    # --- Pinned and idle prefixes -------------------------------------------------------------------------------------

    def unpin(self, name: str) -> bool:
        """Makes a pinned sequence an idle one. Returns False if there is none of that name."""
        index = self._slots.find_pin(name)
        if index >= 0:
            self._slots.unpin(index)
        return index >= 0

    def adopt(self, tokens: list[int], blob: Sized) -> bool:
        """Takes in a sequence that was saved elsewhere, as an idle one. Returns False if it does not fit or cannot be loaded."""
        index = self._claim(-1, 0)
        if index < 0 or not self.reserve(len(tokens)) or not self._memory.load(index, blob):
            return False
        self._slots[index].tenant = SHARED_TENANT
        self._slots.grow(index, tokens)
        self._settle(index)
        return True

    def export(self, name: str) -> tuple[list[int], Sized] | None:
        """Returns tokens and state of a pinned sequence, for adopt(); None if there is none of that name."""
        index = self._slots.find_pin(name)
        return None if index < 0 else (list(self._slots[index].tokens), self._memory.save(index))

    def has_prefix(self, tokens: list[int]) -> bool:
        """True if all of these tokens have cells that sequences of the shared tenant can use."""
        return self._longest(tokens, SHARED_TENANT)[1] == len(tokens)

    def has_room(self, n: int) -> bool:
        """True if n cells are free or can be made free."""
        return self.n_cells - self.n_cells_held >= n

    def export_prefix(self, tokens: list[int]) -> Sized | None:
        """Returns the state of exactly these tokens, for adopt(); None if has_prefix() is False."""
        index, n = self._longest(tokens, SHARED_TENANT)
        if n < len(tokens):
            return None
        if n == len(self._slots[index].tokens):
            return self._memory.save(index)
        scratch = len(self._slots)
        self._memory.copy(index, scratch, 0, n)
        state = self._memory.save(scratch)
        self._memory.clear(scratch)
        return state

    def drop_idle(self) -> None:
        """Forgets all finished sequences, those in host memory too."""
        for index in list(self._slots.where(is_held=False)):
            self._slots.empty(index)
        if self.host is not None:
            self.host.clear()

    def offload(self) -> bool:
        """Moves one idle sequence to the host cache, if idle cells are so many that they slow down every step of others.
        Returns True if it did."""
        if self._transfer is None or not self._memory.is_sliceable or self._memory.skips_foreign:
            return False
        n_idle = self.n_cells_used - self.n_cells_held
        victim = self._victim()
        return n_idle >= N_CELLS_STEP and victim >= 0 and self._evict(victim, only_if_saved=True)

    # --- Choosing -----------------------------------------------------------------------------------------------------

    def _longest(self, tokens: list[int], tenant: int) -> tuple[int, int]:
        """Returns (slot, n) of the longest usable prefix of `tokens`, or (-1, 0)."""
        best, best_n = -1, 0
        for n_alike, index in self._slots.matches(tokens, tenant):
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
        """Returns a slot without owner that holds the first n tokens of `source` and no more, or -1."""
        is_idle = source >= 0 and not self._slots[source].is_held
        if is_idle and n == len(self._slots[source].tokens):
            return source  # nothing of it is lost
        target = next((i for i in self._slots.where(is_held=False) if not self._slots[i].tokens), -1)
        if target < 0:
            target = self._victim(spare=source)
            if target >= 0:
                self._evict(target)
        if target < 0 and is_idle:
            if not self._slots.truncate(source, n):
                self._slots.empty(source)
            return source
        if target >= 0 and source >= 0:
            self._slots.fork(source, target, n)
        return target

    def _victim(self, spare: int = -1) -> int:
        """Returns the idle slot that is worth least, or -1."""
        idle = (i for i in self._slots.where(is_held=False) if self._slots[i].tokens and i != spare)
        return min(idle, key=lambda i: (self._slots[i].credit, self._slots[i].used), default=-1)

    def _evict(self, index: int, *, only_if_saved: bool = False) -> bool:
        is_saved = self._transfer is not None and self._transfer.save(index)
        if only_if_saved and not is_saved:
            return False
        self._level = max(self._level, self._slots[index].credit)
        self._slots.empty(index)
        return True

    def _restore(self, index: int, tokens: list[int]) -> None:
        if self._transfer is not None:
            self._transfer.restore(index, tokens)

    def _settle(self, index: int, *, keep: bool = True) -> None:
        """Makes a slot without owner an idle or pinned prefix, or a free one."""
        slot = self._slots[index]
        if not keep or not slot.tokens:
            self._slots.empty(index)
            return
        self._tick += 1
        slot.used = self._tick
        slot.credit = self._level + self._cost(0, len(slot.tokens)) / len(slot.tokens)
        self._slots.announce(index, slot.tokens)
