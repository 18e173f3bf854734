"""Slots: the books equal the memory, and cells are shared within a tenant and with pinned prefixes."""

from __future__ import annotations

from llmcore.scheduling.slots import Slots
from tests.scheduling.counting_memory import CountingMemory


def filled(memory: CountingMemory, slots: Slots, index: int, tokens: list[int], tenant: int = 0) -> None:
    memory.compute(index, 0, tokens)
    slots[index].tenant = tenant
    slots.grow(index, tokens)
    slots.announce(index, tokens)


def test_a_fork_shares_cells_and_a_cut_gives_back_only_its_own() -> None:
    memory = CountingMemory()
    slots = Slots(memory, 3)
    filled(memory, slots, 0, [1, 2, 3, 4])
    slots.fork(0, 1, 3)
    assert slots[1].tokens == memory.tokens(1) == [1, 2, 3]
    assert slots.ranges.n_used == memory.n_used == 4
    assert slots.truncate(0, 2)
    assert (slots[0].tokens, slots.ranges.n_used) == ([1, 2], 3)
    slots.empty(0)
    assert (slots[0].tokens, slots.ranges.n_used, memory.n_used) == ([], 3, 3)


def test_a_memory_that_cannot_be_cut_stays_as_it_is() -> None:
    memory = CountingMemory(is_cuttable=False)
    slots = Slots(memory, 1)
    filled(memory, slots, 0, [1, 2, 3])
    assert not slots.truncate(0, 2)
    assert slots[0].tokens == memory.tokens(0) == [1, 2, 3]


def test_pinned_slots_match_all_tenants_and_idle_ones_their_own() -> None:
    memory = CountingMemory()
    slots = Slots(memory, 3)
    slots[0].pin = "system"
    filled(memory, slots, 0, [1, 2])
    filled(memory, slots, 1, [1, 2, 3], tenant=1)
    assert list(slots.matches([1, 2, 3], 1)) == [(3, 1), (2, 0)]
    assert list(slots.matches([1, 2, 3], 2)) == [(2, 0)]
    assert slots.n_shared_with_pins([1, 9]) == 1
    assert (list(slots.pinned()), slots.find_pin("system"), slots.find_pin("other")) == ([0], 0, -1)
    slots.unpin(0)
    assert list(slots.matches([1, 2, 3], 2)) == []
    assert list(slots.matches([1, 2, 3], 0)) == [(2, 0)]
    assert list(slots.where(is_held=True)) == []
