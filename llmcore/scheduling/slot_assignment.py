"""Slots for sequences: from the queue into slots, and back if a more urgent sequence needs the slot. Pure policy."""

from __future__ import annotations

from llmcore.limits import Limits
from llmcore.scheduling.admission import Admission
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.followers import Followers
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.shares import ShareSnapshot
from llmcore.scheduling.turns import Turn
from llmcore.sequence import LOW, Sequence


class SlotAssignment:
    """Invariant: a sequence is in exactly one of `waiting` and `running`, until it is finished or cancelled."""

    def __init__(self, cache: KVCache, limits: Limits, costs: CostModel) -> None:
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.n_preempted = 0
        self.admission = Admission(cache, limits, costs, self.waiting, self.running)
        self.followers = Followers(cache)
        self._cache = cache
        self._limits = limits
        self._costs = costs
        self.n_drafts = 0  # draft tokens in the step that is being made: they need cells, too

    def enqueue(self, sequence: Sequence) -> None:
        self.waiting.append(sequence)
        self.admission.queued(sequence)

    def admit(self, sequence: Sequence) -> bool:
        """Moves a waiting sequence into a slot. Returns False if another one is computing its beginning, its prompt does not fit
        beside what is running, no slot is free, or its holders may not have one more."""
        if self.followers.follow(sequence) or not self.fits(sequence):
            return False
        if not self.has_free_slot or self.shares().must_wait(sequence):
            return False
        if not self._cache.acquire(sequence):
            return False
        self._unqueue(sequence)
        self.running.append(sequence)
        return True

    def preempt(self, sequence: Sequence) -> None:
        """Moves a running sequence to the head of the queue; what it computed stays in the cache until its cells are needed."""
        self.running.remove(sequence)
        self._cache.release(sequence)
        self.waiting.insert(0, sequence)
        self.admission.queued(sequence)
        self.n_preempted += 1

    def remove(self, sequence: Sequence, now_s: float, *, pin: str | None = None) -> None:
        """Takes a finished sequence out. If it was running, its cells stay as a cached prefix, pinned if `pin` is a name."""
        self.followers.remove(sequence)
        if sequence in self.running:
            self.running.remove(sequence)
            self._cache.release(sequence, keep=sequence.is_kept, pin=pin)
            self.admission.finished(sequence, now_s)
        else:
            self._unqueue(sequence)

    def _unqueue(self, sequence: Sequence) -> None:
        self.waiting.remove(sequence)
        self.admission.unqueued(sequence)

    # --- What may have a slot -----------------------------------------------------------------------------------------

    @property
    def has_free_slot(self) -> bool:
        return len(self.running) < self._limits.n_running

    def prefilling(self) -> list[Sequence]:
        """Running sequences whose prompts are not computed yet."""
        return [each for each in self.running if each.phase == "prefill"]

    def prompts(self) -> list[Sequence]:
        """Sequences whose prompts may have a part of the next step: those that run, and those that may begin to."""
        prompts = self.prefilling()
        if self.waiting and self.has_free_slot:
            shares = self.shares()
            prompts += [each for each in self.waiting if not shares.must_wait(each)]
        return prompts

    def turns(self, prompts: list[Sequence]) -> list[Turn]:
        """Turns of prompts that need not wait for one another."""
        return self.followers.turns(prompts, self._costs, self._limits.n_batch)

    def shares(self) -> ShareSnapshot:
        return self.admission.shares.snapshot(lambda each: self.followers.leader(each) is None)

    def fits(self, sequence: Sequence) -> bool:
        """True if there are cells for a sequence's prompt beside what running sequences hold and are going to need."""
        if not self.running:
            return True
        n_promised = sum(each.n_remaining for each in self.running) + self.n_drafts
        return self._cache.n_cells_held + n_promised + self._cache.n_cells_new(sequence) <= self._cache.n_cells

    # --- Making way ---------------------------------------------------------------------------------------------------

    def make_way(self) -> None:
        """If every slot is taken, gives the slot of a sequence of low priority to one that is more urgent, or to one whose
        holder has fewer slots."""
        low = [each for each in self.running if each.priority == LOW]
        if self.has_free_slot or not low:
            return
        shares = self.shares()
        urgent = [each for each in self.waiting if each.priority < LOW and not shares.is_full(each.group)]
        if urgent:
            self._make_way_for_urgent(max(low, key=lambda each: each.arrived_s), urgent)
            return
        for each in sorted(self.waiting, key=lambda each: each.arrived_s):
            victim = max(low, key=lambda one, other=each: (shares.lead(one, other), one.arrived_s))  # type: ignore[misc]
            # By more than one, so that it does not come back at once.
            if shares.lead(victim, each) > 1 and self.fits(each) and not self.followers.follow(each):
                self.preempt(victim)
                self.admit(each)
                return

    def _make_way_for_urgent(self, victim: Sequence, others: list[Sequence]) -> None:
        turns = {each.sequence: each for each in self.turns([victim, *others])}
        beaten = turns.pop(victim)
        better = [each for each in turns.values() if each.done_s < beaten.done_s]
        if not better:
            return
        first, eldest = min(better, key=lambda each: each.key), min(better, key=lambda each: each.due_s)
        wait_s = self.admission.slot_wait_s(1)
        if eldest.due_s < first.due_s and wait_s > eldest.allowance_s:
            first = eldest
        if not self.followers.follow(first.sequence):
            self.preempt(victim)
            if self.admit(first.sequence) and eldest.due_s < first.due_s:
                eldest.lost_s = wait_s
                eldest.charge()
