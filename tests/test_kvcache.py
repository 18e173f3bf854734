"""KVCache against a memory that really counts cells: every native call it makes must be true to its books."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmcore.kvcache import KVCache
from llmcore.sequence import Sequence


class CountingMemory:
    """Cells as llama.cpp's unified buffer has them: a cell is a position's token, with the set of its slots."""

    def __init__(self, *, can_truncate: bool = True) -> None:
        self.can_truncate = can_truncate
        self.cells: list[tuple[int, int, set[int]]] = []  # (position, token, slots)

    def compute(self, slot: int, start: int, tokens: list[int]) -> None:
        assert start == len(self.tokens(slot)), "positions follow one another"
        self.cells += [(start + i, token, {slot}) for i, token in enumerate(tokens)]

    def tokens(self, slot: int) -> list[int]:
        held = sorted((position, token) for position, token, slots in self.cells if slot in slots)
        assert [position for position, _ in held] == list(range(len(held)))
        return [token for _, token in held]

    @property
    def n_used(self) -> int:
        return len(self.cells)

    def copy(self, source: int, target: int, n: int) -> None:
        assert not self.tokens(target), "a fork goes into an empty slot"
        for position, _, slots in self.cells:
            if source in slots and position < n:
                slots.add(target)

    def truncate(self, slot: int, n: int) -> bool:
        if not self.can_truncate and 0 < n < len(self.tokens(slot)):
            return False
        for position, _, slots in self.cells:
            if position >= n:
                slots.discard(slot)
        self.cells = [cell for cell in self.cells if cell[2]]
        return True

    def clear(self, slot: int) -> None:
        assert self.truncate(slot, 0)


def sequence(tokens: list[int], name: str = "s") -> Sequence:
    return Sequence(name, list(tokens), n_prompt=len(tokens), n_tokens_max=10**6)


def compute(cache: KVCache, memory: CountingMemory, each: Sequence) -> None:
    n = each.n_remaining
    assert cache.reserve(n)
    memory.compute(each.slot, each.n_computed, each.tokens[each.n_computed :])
    cache.append(each, n)


def run(cache: KVCache, memory: CountingMemory, tokens: list[int]) -> Sequence:
    each = sequence(tokens)
    assert cache.open(each)
    compute(cache, memory, each)
    return each


def test_a_finished_sequence_is_a_prefix_for_the_next() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=100)
    cache.close(run(cache, memory, [1, 2, 3, 4]))
    follower = sequence([1, 2, 3, 4, 5, 6])
    assert cache.open(follower)
    assert (follower.n_cached, follower.n_computed) == (4, 4)
    assert memory.n_used == 4, "taken over, not copied"


def test_a_running_sequence_is_forked_and_shares_its_cells() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=100)
    first = run(cache, memory, [1, 2, 3, 4])
    second = sequence([1, 2, 9])
    assert cache.open(second)
    assert second.n_cached == 2
    compute(cache, memory, second)
    assert memory.tokens(first.slot) == [1, 2, 3, 4]
    assert memory.tokens(second.slot) == [1, 2, 9]
    assert cache.n_cells_used == memory.n_used == 5


def test_one_token_is_always_left_to_compute() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=2, n_cells=100)
    cache.close(run(cache, memory, [1, 2, 3]))
    again = sequence([1, 2, 3])
    assert cache.open(again)
    assert again.n_cached == 2


def test_the_least_recently_used_prefix_goes_first() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=10)
    cache.close(run(cache, memory, [1, 1, 1, 1]))
    cache.close(run(cache, memory, [2, 2, 2, 2]))
    assert cache.reserve(5)
    assert memory.n_used == 4
    kept = sequence([2, 2, 2, 2, 2])
    assert cache.open(kept)
    assert kept.n_cached == 4


def test_running_sequences_are_never_evicted() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=10)
    run(cache, memory, [1] * 6)
    cache.close(run(cache, memory, [2] * 3))
    assert not cache.reserve(5)
    assert memory.n_used == 6
    assert cache.n_cells_pinned == 6


def test_no_slot_no_sequence() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=2, n_cells=100)
    run(cache, memory, [1, 2])
    run(cache, memory, [3, 4])
    third = sequence([5, 6])
    assert not cache.open(third)
    assert third.slot == -1


def test_the_only_cached_slot_is_cut_to_what_matches() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=1, n_cells=100)
    cache.close(run(cache, memory, [1, 2, 3, 4]))
    other = sequence([1, 2, 8, 9])
    assert cache.open(other)
    assert other.n_cached == 2
    assert memory.tokens(other.slot) == [1, 2]


@pytest.mark.parametrize(("tokens", "n_cached"), [([1, 2, 3, 4, 5], 4), ([1, 2, 3, 9, 9], 0)])
def test_a_memory_that_cannot_be_cut_is_used_whole_or_not_at_all(tokens: list[int], n_cached: int) -> None:
    memory = CountingMemory(can_truncate=False)
    cache = KVCache(memory, n_slots=1, n_cells=100)
    cache.close(run(cache, memory, [1, 2, 3, 4]))
    follower = sequence(tokens)
    assert cache.open(follower)
    assert follower.n_cached == n_cached
    assert memory.tokens(follower.slot) == tokens[:n_cached]


def test_rewind_removes_what_an_aborted_step_left() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=2, n_cells=100)
    each = run(cache, memory, [1, 2, 3])
    each.tokens += [4, 5]
    memory.compute(each.slot, 3, [4])  # half of the step reached the cells
    cache.rewind(each)
    assert memory.tokens(each.slot) == [1, 2, 3]
    assert each.n_computed == 3


def test_rewind_of_a_memory_that_cannot_be_cut_starts_anew() -> None:
    memory = CountingMemory(can_truncate=False)
    cache = KVCache(memory, n_slots=2, n_cells=100)
    each = run(cache, memory, [1, 2, 3])
    each.tokens += [4, 5]
    memory.compute(each.slot, 3, [4])
    cache.rewind(each)
    assert memory.n_used == cache.n_cells_used == 0
    assert (each.n_computed, each.n_cached) == (0, 0)
    compute(cache, memory, each)
    assert memory.tokens(each.slot) == [1, 2, 3, 4, 5]


class Life(RuleBasedStateMachine):
    """Random arrivals, growth, ends and rewinds; after each, the books equal the memory."""

    N_SLOTS, N_CELLS = 4, 24

    def __init__(self) -> None:
        super().__init__()
        self.memory = CountingMemory()
        self.cache = KVCache(self.memory, n_slots=self.N_SLOTS, n_cells=self.N_CELLS)
        self.running: list[Sequence] = []

    @rule(tokens=st.lists(st.integers(0, 1), min_size=1, max_size=8))
    def arrive(self, tokens: list[int]) -> None:
        each = sequence(tokens)
        if self.cache.open(each):
            assert each.n_cached <= len(tokens) - 1
            assert self.memory.tokens(each.slot) == tokens[: each.n_cached]
            self.running.append(each)
        else:
            assert len(self.running) == self.N_SLOTS

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def compute(self, data: st.DataObject) -> None:
        each = data.draw(st.sampled_from(self.running))
        if self.cache.reserve(each.n_remaining):
            self.memory.compute(each.slot, each.n_computed, each.tokens[each.n_computed :])
            self.cache.append(each, each.n_remaining)
            each.tokens.append(data.draw(st.integers(0, 1)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), keep=st.booleans())
    def end(self, data: st.DataObject, keep: bool) -> None:
        each = data.draw(st.sampled_from(self.running))
        self.running.remove(each)
        self.cache.close(each, keep=keep)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def rewind(self, data: st.DataObject) -> None:
        self.cache.rewind(data.draw(st.sampled_from(self.running)))

    @invariant()
    def books_are_true(self) -> None:
        assert self.cache.n_cells_used == self.memory.n_used <= self.N_CELLS
        assert self.cache.n_cells_pinned <= self.cache.n_cells_used
        for each in self.running:
            assert 0 <= each.n_cached <= each.n_computed <= len(each.tokens)
            assert self.memory.tokens(each.slot) == each.tokens[: each.n_computed]
        assert len({each.slot for each in self.running}) == len(self.running)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
