"""Saving and restoring: what is evicted comes back, and only what is kept nowhere else is copied."""

from __future__ import annotations

from tests.scheduling.counting_memory import CountingMemory, compute, run, sequence, with_host


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


def test_only_unshared_tokens_are_saved_and_restored_behind_the_shared_ones() -> None:
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
