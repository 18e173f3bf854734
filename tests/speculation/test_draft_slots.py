"""Slots of a draft model: the cells of each are a beginning of its sequence, whatever happens to sequences."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmcore.sequence import Sequence
from llmcore.speculation.draft_slots import DraftSlots

N_SLOTS = 3


class Cells:
    """A memory that knows the tokens of its cells. `keeps` is False where no part can be removed."""

    def __init__(self, *, keeps: bool = True) -> None:
        self.keeps = keeps
        self.tokens: dict[int, list[int]] = {}

    def copy(self, source: int, target: int, n: int) -> bool:
        assert not self.tokens.get(target)
        if not self.keeps and n < len(self.tokens[source]):
            return False
        self.tokens[target] = self.tokens[source][:n]
        return True

    def truncate(self, slot: int, n: int) -> bool:
        if self.keeps:
            del self.tokens[slot][n:]
        return self.keeps

    def clear(self, slot: int) -> None:
        self.tokens[slot] = []


def sequence(tokens: list[int], tenant: int = 0) -> Sequence:
    return Sequence("a", list(tokens), n_prompt=len(tokens), n_tokens_max=1000, tenant=tenant)


def compute(slots: DraftSlots, cells: Cells, of: Sequence, more: list[int] | None = None) -> None:
    """Computes all tokens of a sequence, and a draft behind them."""
    slot = slots.acquire(of)
    assert slot is not None
    tokens = [*of.tokens[len(slot.tokens) :], *(more or [])]
    cells.tokens.setdefault(slot.index, []).extend(tokens)
    slot.tokens += tokens


def test_a_rejected_draft_is_cut_and_an_accepted_one_stays() -> None:
    cells = Cells()
    slots, one = DraftSlots(cells, 2), sequence([1, 2, 3])
    compute(slots, cells, one, [4, 5, 6])
    one.tokens += [4, 5, 9]
    slot = slots.acquire(one)
    assert slot is not None
    assert slot.tokens == cells.tokens[slot.index] == [1, 2, 3, 4, 5]


def test_at_least_the_last_token_is_left_to_compute() -> None:
    cells = Cells()
    slots, one = DraftSlots(cells, 2), sequence([1, 2, 3])
    compute(slots, cells, one, [4])
    one.tokens += [4]
    slot = slots.acquire(one)
    assert slot is not None
    assert slot.tokens == [1, 2, 3]


def test_prefixes_are_forked_within_a_tenant_and_kept_behind_the_end() -> None:
    cells = Cells()
    slots, one = DraftSlots(cells, 3), sequence([1, 2, 3, 4])
    compute(slots, cells, one)
    other = slots.acquire(sequence([1, 2, 8, 9]))
    assert other is not None
    assert other.tokens == cells.tokens[other.index] == [1, 2]
    stranger = slots.acquire(sequence([1, 2, 3, 4, 5], tenant=1))
    assert stranger is not None
    assert stranger.tokens == []
    slots.release(one)
    again = slots.acquire(sequence([1, 2, 3, 4, 5]))
    assert again is not None
    assert again.tokens == [1, 2, 3, 4], "the slot of the sequence that has ended"


def test_without_a_slot_there_is_none() -> None:
    slots, one, two = DraftSlots(Cells(), 1), sequence([1]), sequence([2])
    assert slots.acquire(one) is not None
    assert slots.acquire(two) is None
    slots.release(one)
    assert slots.acquire(two) is not None


def test_eviction_takes_kept_prefixes_first_and_spares_busy_slots() -> None:
    cells = Cells()
    slots = DraftSlots(cells, 3)
    running, ended, busy = sequence([1, 1]), sequence([2, 2]), sequence([3, 3])
    for each in (running, ended, busy):
        compute(slots, cells, each)
    slots.release(ended)
    busy_slot = slots.acquire(busy)
    assert busy_slot is not None
    busy_slot.tokens, cells.tokens[busy_slot.index] = [3], [3]
    assert slots.evict({busy_slot.index})
    assert sorted(map(tuple, cells.tokens.values())) == [(), (1, 1), (3,)]
    assert slots.evict({busy_slot.index})
    assert not slots.evict({busy_slot.index})


def test_kept_prefixes_can_be_dropped() -> None:
    cells = Cells()
    slots, running, ended = DraftSlots(cells, 3), sequence([1, 1]), sequence([2, 2])
    compute(slots, cells, running)
    compute(slots, cells, ended)
    slots.release(ended)
    slots.drop_kept()
    assert sorted(map(tuple, cells.tokens.values())) == [(), (1, 1)]


def test_a_context_shift_is_seen() -> None:
    cells = Cells()
    slots, one = DraftSlots(cells, 2), sequence([1, 2, 3, 4, 5])
    compute(slots, cells, one)
    assert slots.acquire(one) is not None
    one.tokens, one.n_dropped = [1, 4, 5, 6], 2
    slot = slots.acquire(one)
    assert slot is not None
    assert slot.tokens == cells.tokens[slot.index] == [1]


def test_a_memory_that_cannot_be_cut_begins_anew() -> None:
    cells = Cells(keeps=False)
    slots, one = DraftSlots(cells, 2), sequence([1, 2, 3])
    compute(slots, cells, one, [4])
    one.tokens += [9]
    slot = slots.acquire(one)
    assert slot is not None
    assert slot.tokens == cells.tokens[slot.index] == []


class Life(RuleBasedStateMachine):
    """Sequences that begin, grow, lose their drafts, are shifted and end."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = Cells()
        self.slots = DraftSlots(self.cells, N_SLOTS)
        self.running: list[Sequence] = []

    tokens = st.lists(st.integers(0, 1), min_size=1, max_size=6)

    @rule(tokens=tokens, tenant=st.integers(0, 1))
    def begin(self, tokens: list[int], tenant: int) -> None:
        if len(self.running) < N_SLOTS:
            self.running.append(sequence(tokens, tenant))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 9), draft=tokens, real=tokens)
    def draft(self, which: int, draft: list[int], real: list[int]) -> None:
        each = self.running[which % len(self.running)]
        compute(self.slots, self.cells, each, draft)
        each.tokens += real

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 9), n=st.integers(1, 3))
    def shift(self, which: int, n: int) -> None:
        each = self.running[which % len(self.running)]
        n = min(n, len(each.tokens) - 1)
        del each.tokens[:n]
        each.n_dropped += n

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 9))
    def end(self, which: int) -> None:
        self.slots.release(self.running.pop(which % len(self.running)))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 9))
    def look(self, which: int) -> None:
        each = self.running[which % len(self.running)]
        slot = self.slots.acquire(each)
        assert slot is not None, "there are as many slots as sequences"
        assert slot.tokens == each.tokens[: len(slot.tokens)]
        assert len(slot.tokens) < len(each.tokens)

    @rule()
    def evict(self) -> None:
        self.slots.evict(())

    @invariant()
    def slots_know_their_cells(self) -> None:
        for index in range(N_SLOTS):
            assert self.slots[index].tokens == self.cells.tokens.get(index, [])


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
