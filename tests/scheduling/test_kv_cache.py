"""KVCache against a memory that really counts cells: every native call it makes must be true to its books."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sized

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmcore.scheduling.host_cache import HostCache
from llmcore.scheduling.host_transfer import N_WORTH_IT
from llmcore.scheduling.kv_cache import N_CELLS_STEP, KVCache
from llmcore.scheduling.radix_tree import common_prefix
from llmcore.sequence import Sequence


class CountingMemory:
    """Cells as llama.cpp's unified buffer has them: a cell is a position's token, with the set of its slots. A saved state is
    a tuple of them. `window`: a sliding one; going back further than that finds cells missing."""

    def __init__(self, *, is_cuttable: bool = True, window: int | None = None, skips_foreign: bool = False) -> None:
        self.is_cuttable = is_cuttable
        self.skips_foreign = skips_foreign
        self.is_sliceable = is_cuttable and window is None
        self.window = window
        self.cells: list[tuple[int, int, set[int]]] = []  # (position, token, slots)
        self.n_loads_refused = 0

    def compute(self, slot: int, start: int, tokens: list[int]) -> None:
        assert start == len(self.tokens(slot)), "positions follow one another"
        self.cells += [(start + i, token, {slot}) for i, token in enumerate(tokens)]

    def held(self, slot: int) -> list[tuple[int, int]]:
        return sorted((position, token) for position, token, slots in self.cells if slot in slots)

    def tokens(self, slot: int) -> list[int]:
        held = self.held(slot)
        assert [position for position, _ in held] == list(range(len(held)))
        return [token for _, token in held]

    @property
    def n_used(self) -> int:
        return len(self.cells)

    def can_cut(self, slot: int, n: int) -> bool:
        return self.is_cuttable and (self.window is None or len(self.tokens(slot)) - n <= self.window)

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        assert self.is_cuttable or (start, end) == (0, len(self.tokens(source))), "a state is copied whole"
        assert len(self.held(target)) in (0, start), "a copy goes behind what is there"
        for position, _, slots in self.cells:
            if source in slots and start <= position < end:
                slots.add(target)

    def truncate(self, slot: int, n: int) -> bool:
        if not self.is_cuttable and 0 < n < len(self.tokens(slot)):
            return False
        for position, _, slots in self.cells:
            if position >= n:
                slots.discard(slot)
        self.cells = [cell for cell in self.cells if cell[2]]
        return True

    def clear(self, slot: int) -> None:
        for _, _, slots in self.cells:
            slots.discard(slot)
        self.cells = [cell for cell in self.cells if cell[2]]

    def save(self, slot: int) -> tuple[tuple[int, int], ...]:
        held = self.held(slot)
        assert held, "nothing is never saved"
        return tuple(held)

    def load(self, slot: int, blob: Sized) -> bool:
        assert not self.held(slot), "a state goes into an empty slot"
        assert isinstance(blob, tuple)
        if self.n_loads_refused:
            self.n_loads_refused -= 1
            return False
        self.cells += [(position, token, {slot}) for position, token in blob]
        return True


def sequence(tokens: list[int], name: str = "s") -> Sequence:
    return Sequence(name, list(tokens), n_prompt=len(tokens), n_tokens_max=10**6)


def compute(cache: KVCache, memory: CountingMemory, each: Sequence) -> None:
    n = each.n_remaining
    assert cache.reserve(n)
    memory.compute(each.slot, each.n_computed, each.tokens[each.n_computed :])
    cache.append(each, n)


def run(cache: KVCache, memory: CountingMemory, tokens: list[int]) -> Sequence:
    each = sequence(tokens)
    assert cache.acquire(each)
    compute(cache, memory, each)
    return each


def test_a_finished_sequence_is_a_prefix_for_the_next() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=100)
    cache.release(run(cache, memory, [1, 2, 3, 4]))
    follower = sequence([1, 2, 3, 4, 5, 6])
    assert cache.acquire(follower)
    assert (follower.n_cached, follower.n_computed) == (4, 4)
    assert memory.n_used == 4, "taken over, not copied"


def test_a_running_sequence_is_forked_and_shares_its_cells() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=100)
    first = run(cache, memory, [1, 2, 3, 4])
    second = sequence([1, 2, 9])
    assert cache.acquire(second)
    assert second.n_cached == 2
    compute(cache, memory, second)
    assert memory.tokens(first.slot) == [1, 2, 3, 4]
    assert memory.tokens(second.slot) == [1, 2, 9]
    assert cache.n_cells_used == memory.n_used == 5


def test_one_token_is_always_left_to_compute() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=2, n_cells=100)
    cache.release(run(cache, memory, [1, 2, 3]))
    again = sequence([1, 2, 3])
    assert cache.acquire(again)
    assert again.n_cached == 2


def test_the_least_recently_used_prefix_goes_first() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=10)
    cache.release(run(cache, memory, [1, 1, 1, 1]))
    cache.release(run(cache, memory, [2, 2, 2, 2]))
    assert cache.reserve(5)
    assert memory.n_used == 4
    kept = sequence([2, 2, 2, 2, 2])
    assert cache.acquire(kept)
    assert kept.n_cached == 4


def test_running_sequences_are_never_evicted() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=10)
    run(cache, memory, [1] * 6)
    cache.release(run(cache, memory, [2] * 3))
    assert not cache.reserve(5)
    assert memory.n_used == 6
    assert cache.n_cells_held == 6


def test_no_slot_no_sequence() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=2, n_cells=100)
    run(cache, memory, [1, 2])
    run(cache, memory, [3, 4])
    third = sequence([5, 6])
    assert not cache.acquire(third)
    assert third.slot == -1


def test_the_only_cached_slot_is_cut_to_what_matches() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=1, n_cells=100)
    cache.release(run(cache, memory, [1, 2, 3, 4]))
    other = sequence([1, 2, 8, 9])
    assert cache.acquire(other)
    assert other.n_cached == 2
    assert memory.tokens(other.slot) == [1, 2]


@pytest.mark.parametrize(("tokens", "n_cached"), [([1, 2, 3, 4, 5], 4), ([1, 2, 3, 9, 9], 0)])
def test_a_memory_that_cannot_be_cut_is_used_whole_or_not_at_all(tokens: list[int], n_cached: int) -> None:
    memory = CountingMemory(is_cuttable=False)
    cache = KVCache(memory, n_slots=1, n_cells=100)
    cache.release(run(cache, memory, [1, 2, 3, 4]))
    follower = sequence(tokens)
    assert cache.acquire(follower)
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
    memory = CountingMemory(is_cuttable=False)
    cache = KVCache(memory, n_slots=2, n_cells=100)
    each = run(cache, memory, [1, 2, 3])
    each.tokens += [4, 5]
    memory.compute(each.slot, 3, [4])
    cache.rewind(each)
    assert memory.n_used == cache.n_cells_used == 0
    assert (each.n_computed, each.n_cached) == (0, 0)
    compute(cache, memory, each)
    assert memory.tokens(each.slot) == [1, 2, 3, 4, 5]


def with_host(memory: CountingMemory, *, n_cells: int = 100, n_slots: int = 4, n_bytes: int = 10_000) -> KVCache:
    return KVCache(memory, n_slots=n_slots, n_cells=n_cells, host=HostCache(n_bytes))


def test_what_is_evicted_comes_back_from_the_host_tier() -> None:
    memory = CountingMemory()
    cache = with_host(memory, n_cells=50)
    first = list(range(40))
    cache.release(run(cache, memory, first))
    cache.release(run(cache, memory, list(range(100, 140))))  # needs the cells of the first
    assert memory.n_used == 40
    again = sequence([*first, 7, 8])
    assert cache.n_known(again) == 40
    assert cache.acquire(again)
    assert (again.n_cached, again.n_restored) == (40, 40)
    assert memory.tokens(again.slot) == first
    assert (cache.n_saved, cache.n_restored) == (2, 1)


def test_only_what_nobody_shares_is_saved_and_it_comes_back_behind_the_shared_beginning() -> None:
    memory = CountingMemory()
    cache = with_host(memory, n_cells=200)
    shared = list(range(60))
    base = run(cache, memory, [*shared, 999])
    caller = [*shared, *range(1000, 1030)]
    cache.release(run(cache, memory, caller))
    assert cache.reserve(120)
    host = cache.host
    assert host is not None
    assert [(each.start, len(each.tokens)) for each in host.entries()] == [(60, 90)]
    again = sequence([*caller, 5])
    assert cache.acquire(again)
    assert (again.n_cached, again.n_restored) == (90, 30)
    assert memory.tokens(again.slot) == caller
    assert memory.n_used == cache.n_cells_used == 61 + 30, "the shared beginning has its cells once"
    cache.release(base)


def test_a_conversation_is_saved_turn_by_turn_and_restored_in_a_chain() -> None:
    memory = CountingMemory()
    cache = with_host(memory, n_cells=300)
    turns = list(range(120))
    for n in (40, 80, 120):
        cache.release(run(cache, memory, turns[:n]))
        assert cache.reserve(300)
    host = cache.host
    assert host is not None
    assert sorted((each.start, len(each.tokens)) for each in host.entries()) == [(0, 40), (40, 80), (80, 120)]
    assert host.n_bytes == 120
    again = sequence([*turns, 1])
    assert cache.acquire(again)
    assert memory.tokens(again.slot) == turns
    assert again.n_restored == 120


def test_an_entry_that_matches_in_part_is_used_in_part() -> None:
    memory = CountingMemory()
    cache = with_host(memory)
    cache.release(run(cache, memory, list(range(60))))
    assert cache.reserve(100)
    other = sequence([*range(40), 999, 998])
    assert cache.acquire(other)
    assert other.n_cached == 40
    assert memory.tokens(other.slot) == list(range(40))
    assert cache.n_cells_used == memory.n_used == 40


def test_a_state_that_cannot_be_loaded_is_forgotten_and_the_prompt_computed() -> None:
    memory = CountingMemory()
    cache = with_host(memory)
    cache.release(run(cache, memory, list(range(60))))
    assert cache.reserve(100)
    memory.n_loads_refused = 1
    again = sequence(list(range(60)))
    assert cache.acquire(again)
    assert again.n_cached == 0
    assert cache.host is not None
    assert len(cache.host) == 0


def test_idle_cells_are_moved_away_while_others_run() -> None:
    memory = CountingMemory()
    cache = with_host(memory, n_cells=2000)
    assert not cache.offload(), "there is nothing"
    talking = run(cache, memory, list(range(50)))
    cache.release(run(cache, memory, [*range(50), *range(1000, 1000 + N_CELLS_STEP - 1)]))
    assert not cache.offload(), "the shared beginning is not idle, and the rest is little"
    cache.release(run(cache, memory, list(range(5000, 5100))))
    assert cache.offload()
    assert memory.n_used == cache.n_cells_used
    assert not cache.offload(), "what is left idle is little"
    assert memory.tokens(talking.slot) == list(range(50))


def test_idle_cells_stay_where_they_cost_nothing() -> None:
    memory = CountingMemory(skips_foreign=True)
    cache = with_host(memory, n_cells=2000)
    run(cache, memory, list(range(50)))
    cache.release(run(cache, memory, list(range(5000, 5400))))
    assert not cache.offload()
    assert memory.n_used == 450


def test_cells_that_a_step_looks_at() -> None:
    everybodys, own = CountingMemory(), CountingMemory(skips_foreign=True)
    for memory in (everybodys, own):
        cache = KVCache(memory, n_slots=4, n_cells=2000)
        run(cache, memory, list(range(100)))
        run(cache, memory, list(range(5000, 5300)))
        rows = [(1, 100), (3, 300)]
        assert cache.n_cells_attended(rows) == (400 if memory is everybodys else 250)
        assert cache.n_cells_attended([]) == (400 if memory is everybodys else 0)


def test_without_a_host_tier_idle_cells_stay() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=2000)
    cache.release(run(cache, memory, list(range(1000))))
    assert not cache.offload()
    assert memory.n_used == 1000


def test_a_pinned_prefix_is_never_evicted_until_it_is_unpinned() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=3, n_cells=60)
    cache.release(run(cache, memory, list(range(30))), pin="system")
    assert cache.n_cells_pinned == cache.n_cells_held == 30
    cache.drop_idle()
    assert not cache.reserve(40)
    assert cache.reserve(30)
    follower = run(cache, memory, [*range(30), 77])
    assert follower.n_cached == 30
    assert cache.n_cells_pinned_beside([*range(30), 5]) == 0
    assert cache.n_cells_pinned_beside([5]) == 30
    cache.release(follower)
    assert cache.export("system") == (list(range(30)), tuple((i, i) for i in range(30)))
    assert cache.unpin("system")
    assert not cache.unpin("system")
    assert cache.export("system") is None
    assert cache.reserve(60)


def test_a_second_pin_of_a_name_replaces_the_first() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=3, n_cells=60)
    cache.release(run(cache, memory, [1] * 10), pin="system")
    cache.release(run(cache, memory, [2] * 12), pin="system")
    assert cache.n_cells_pinned == 12


def test_a_saved_sequence_is_adopted() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=2, n_cells=20)
    assert cache.adopt([5, 6, 7], ((0, 5), (1, 6), (2, 7)))
    follower = sequence([5, 6, 7, 8])
    assert cache.acquire(follower)
    assert follower.n_cached == 3
    assert not cache.adopt(list(range(30)), ()), "it does not fit"
    memory.n_loads_refused = 1
    assert not cache.adopt([1, 2], ((0, 1), (1, 2)))
    assert memory.n_used == cache.n_cells_used == 3


def test_what_a_running_sequence_is_going_to_compute_is_pending() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=100)
    leader = sequence(list(range(50)))
    assert cache.acquire(leader)
    n, found = cache.pending(sequence([*range(40), 1, 2]))
    assert (n, found) == (40, leader)
    assert cache.n_known(sequence([*range(40), 1, 2])) == 0
    assert cache.pending(sequence([9, 9])) == (0, None)
    compute(cache, memory, leader)
    assert cache.pending(sequence([*range(40), 1, 2])) == (0, None), "it is there now"
    assert cache.n_known(sequence([*range(40), 1, 2])) == 40


def test_a_window_that_has_moved_on_cannot_be_gone_back_to() -> None:
    memory = CountingMemory(window=5)
    cache = KVCache(memory, n_slots=3, n_cells=100)
    cache.release(run(cache, memory, list(range(30))))
    near, far = sequence([*range(27), 1]), sequence([*range(20), 1])
    assert cache.acquire(near)
    assert near.n_cached == 27
    assert cache.acquire(far)
    assert far.n_cached == 0


def test_a_window_is_saved_and_restored_whole() -> None:
    memory = CountingMemory(window=5)
    cache = with_host(memory)
    cache.release(run(cache, memory, list(range(30))))
    assert not cache.offload()
    assert cache.reserve(100)
    part, whole = sequence([*range(25), 1]), sequence([*range(30), 1])
    assert cache.acquire(part)
    assert part.n_cached == 0
    assert cache.acquire(whole)
    assert whole.n_restored == 30
    assert memory.tokens(whole.slot) == list(range(30))


def test_a_memory_that_cannot_be_cut_is_saved_at_checkpoints() -> None:
    memory = CountingMemory(is_cuttable=False)
    cache = with_host(memory)
    first = sequence([*range(40), 1, 2])
    first.checkpoints = (40,)
    assert cache.acquire(first)
    memory.compute(first.slot, 0, first.tokens[:40])
    cache.append(first, 40)
    assert cache.pending(sequence([*range(40), 7]))[0] == 0, "it has passed the last place where others can go on"
    memory.compute(first.slot, 40, first.tokens[40:])
    cache.append(first, 2)
    other = sequence([*range(40), 7])
    assert cache.acquire(other)
    assert (other.n_cached, other.n_restored) == (40, 40)
    assert memory.tokens(other.slot) == list(range(40))
    cache.rewind(other)
    assert other.n_computed == 40, "an untrusted state is replaced by the saved one"


def test_pending_in_a_memory_that_cannot_be_cut_is_its_next_checkpoint() -> None:
    cache = with_host(CountingMemory(is_cuttable=False))
    leader = sequence(list(range(60)))
    leader.checkpoints = (20, 50)
    assert cache.acquire(leader)
    assert cache.pending(sequence([*range(40), 7])) == (20, leader)
    assert cache.pending(sequence([*range(10), 7])) == (0, None)


def test_tenants_share_pinned_prefixes_and_nothing_else() -> None:
    memory = CountingMemory()
    cache = with_host(memory, n_cells=1000, n_slots=8)
    tokens = list(range(60))
    cache.release(run(cache, memory, tokens[:20]), pin="p")

    def of(tenant: int) -> Sequence:
        each = sequence([*tokens, 7])
        each.tenant = tenant
        return each

    running, other, own = of(1), of(2), of(1)
    assert cache.acquire(running)
    assert running.n_cached == 20
    compute(cache, memory, running)
    assert cache.n_known(own) == 60
    assert cache.n_known(other) == cache.n_known(of(0)) == 20
    assert cache.n_cells_new(own) == 0  # all of it is there
    assert cache.n_cells_new(other) == 41
    cache.release(running)
    assert cache.acquire(other)
    assert (other.n_cached, memory.tokens(other.slot)) == (20, tokens[:20])
    assert cache.pending(of(2))[1] is other
    assert cache.pending(of(1))[1] is None
    assert cache.acquire(own)
    assert own.n_cached == 60


def test_what_another_tenant_left_in_the_host_tier_does_not_come_back() -> None:
    memory = CountingMemory()
    cache = with_host(memory, n_cells=60, n_slots=2)
    each = sequence([*range(40), 7])
    each.tenant = 1
    assert cache.acquire(each)
    compute(cache, memory, each)
    cache.release(each)
    assert cache.reserve(60)  # evicts it
    for tenant, n_known in ((0, 0), (2, 0), (1, 40)):
        again = sequence([*range(40), 8])
        again.tenant = tenant
        assert cache.n_known(again) == n_known


class Life(RuleBasedStateMachine):
    """Random arrivals, growth, ends, pins and rewinds; after each, the books equal the memory."""

    N_SLOTS, N_CELLS, N_BYTES = 5, 120, 150

    def __init__(self) -> None:
        super().__init__()
        self.memory = CountingMemory()
        self.host = HostCache(self.N_BYTES)
        self.cache = KVCache(self.memory, n_slots=self.N_SLOTS, n_cells=self.N_CELLS, host=self.host)
        self.running: list[Sequence] = []
        self.pins: dict[str, list[int]] = {}
        self.said: dict[int, list[list[int]]] = defaultdict(list)  # what each tenant has had, and may have again

    # Blocks make beginnings that are long enough to be worth saving, and still often alike.
    @rule(
        blocks=st.lists(st.integers(0, 1), min_size=1, max_size=4),
        last=st.integers(0, 3),
        tenant=st.sampled_from([0, 0, 1, 2]),
    )
    def arrive(self, blocks: list[int], last: int, tenant: int) -> None:
        tokens = [token for block in blocks for token in [block] * (N_WORTH_IT + 1)] + [last]
        each = sequence(tokens)
        each.tenant = tenant
        known = self.cache.n_known(each)
        own = (common_prefix(tokens, other) for other in [*self.said[tenant], *self.pins.values()])
        assert known <= max(own, default=0), "nothing is known by what another tenant has said"
        if self.cache.acquire(each):
            assert each.n_cached <= min(known, len(tokens) - 1)
            assert 0 <= each.n_restored <= each.n_cached
            assert self.memory.tokens(each.slot) == tokens[: each.n_cached]
            self.said[tenant].append(each.tokens)
            self.running.append(each)
        else:
            assert len(self.running) + len(self.pins) == self.N_SLOTS

    @precondition(lambda self: self.running)
    @rule(data=st.data(), n=st.integers(1, 40))
    def compute(self, data: st.DataObject, n: int) -> None:
        each = data.draw(st.sampled_from(self.running))
        n = min(n, each.n_remaining)
        if self.cache.reserve(n):
            self.memory.compute(each.slot, each.n_computed, each.tokens[each.n_computed : each.n_computed + n])
            self.cache.append(each, n)
            if each.n_remaining == 0:
                each.tokens.append(data.draw(st.integers(0, 1)))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), keep=st.booleans())
    def end(self, data: st.DataObject, keep: bool) -> None:
        each = data.draw(st.sampled_from(self.running))
        self.running.remove(each)
        self.cache.release(each, keep=keep)

    @precondition(lambda self: any(not each.tenant for each in self.running) and len(self.pins) < 2)
    @rule(data=st.data(), name=st.sampled_from(["a", "b"]))
    def pin(self, data: st.DataObject, name: str) -> None:
        each = data.draw(st.sampled_from([each for each in self.running if not each.tenant]))
        self.running.remove(each)
        tokens = each.tokens[: each.n_computed]
        self.cache.release(each, pin=name)
        self.pins.pop(name, None)
        if tokens:
            self.pins[name] = tokens

    @precondition(lambda self: self.pins)
    @rule(data=st.data())
    def unpin(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.pins)))
        assert self.cache.unpin(name)
        del self.pins[name]

    @precondition(lambda self: self.running)
    @rule(data=st.data(), n=st.integers(0, 40))
    def rewind(self, data: st.DataObject, n: int) -> None:
        each = data.draw(st.sampled_from(self.running))
        self.cache.rewind(each, min(n, each.n_computed))

    @rule()
    def offload(self) -> None:
        self.cache.offload()

    @rule()
    def a_state_gets_lost(self) -> None:
        self.memory.n_loads_refused = 1

    @invariant()
    def books_are_true(self) -> None:
        assert self.cache.n_cells_used == self.memory.n_used <= self.N_CELLS
        assert self.cache.n_cells_pinned <= self.cache.n_cells_held <= self.cache.n_cells_used
        assert not self.memory.held(self.N_SLOTS), "the scratch slot is empty between calls"
        assert self.host.n_bytes == sum(each.n_bytes for each in self.host.entries()) <= self.N_BYTES
        for each in self.running:
            assert 0 <= each.n_cached <= each.n_computed <= len(each.tokens)
            assert self.memory.tokens(each.slot) == each.tokens[: each.n_computed]
        assert len({each.slot for each in self.running}) == len(self.running)
        for name, tokens in self.pins.items():
            exported = self.cache.export(name)
            assert exported is not None
            assert exported[0] == tokens


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
