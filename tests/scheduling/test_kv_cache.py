"""KVCache against a memory that really counts cells: every native call it makes must be true to its books."""

from __future__ import annotations

import pytest

from llmcore.scheduling.kv_cache import N_CELLS_STEP, KVCache
from llmcore.sequence import Sequence
from tests.scheduling.counting_memory import CountingMemory, compute, run, sequence, with_host


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


def test_a_sequence_finds_no_more_than_the_places_before_its_logits() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=100)
    cache.release(run(cache, memory, [1, 2, 3, 4, 5]))
    scored = sequence([1, 2, 3, 4, 5, 6])
    scored.logits_from = 2
    assert cache.n_known(scored) == 2
    assert cache.acquire(scored)
    assert scored.n_cached == 2
    compute(cache, memory, scored)
    assert memory.tokens(scored.slot) == [1, 2, 3, 4, 5, 6]


def test_a_state_is_exported_also_of_a_part() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=10)
    cache.release(run(cache, memory, [1, 2, 3, 4]))
    assert cache.export_prefix([1, 9]) is None
    states = {n: cache.export_prefix([1, 2, 3, 4][:n]) for n in (2, 4)}
    assert memory.n_used == 4
    cache.drop_idle()
    for n, state in states.items():
        assert state is not None
        assert cache.has_room(n)
        assert cache.adopt([1, 2, 3, 4][:n], state)
        assert cache.has_prefix([1, 2, 3, 4][:n])
        assert not cache.has_prefix([1, 2, 3, 4, 5])
        cache.drop_idle()
    run(cache, memory, [7] * 6)
    assert cache.has_room(4)
    assert not cache.has_room(5)


# --- Drafts -----------------------------------------------------------------------------------------------------------


def drafted(cache: KVCache, memory: CountingMemory, draft: list[int]) -> Sequence:
    """A running sequence of five tokens whose last step computed a draft behind them."""
    each = run(cache, memory, [1, 2, 3, 4])
    each.tokens.append(5)
    memory.compute(each.slot, 4, [5, *draft])
    cache.append(each, 1, len(draft))
    return each


def test_accepted_tokens_get_cells_and_the_others_are_cut() -> None:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=4, n_cells=100)
    each = drafted(cache, memory, [6, 7, 8])
    each.tokens += [6, 9]
    cache.accept(each, 1)
    assert (each.n_computed, each.n_drafted, memory.n_used) == (6, 2, 8)
    cache.cut(each)
    cache.cut(each)
    assert (each.n_computed, each.n_drafted) == (6, 0)
    assert memory.tokens(each.slot) == each.tokens[:6]
    assert cache.n_cells_used == memory.n_used == 6


@pytest.mark.parametrize("keep", [True, False])
def test_what_a_sequence_leaves_behind_has_nothing_of_its_draft(keep: bool) -> None:
    memory = CountingMemory()
    cache = with_host(memory, n_cells=20)
    each = drafted(cache, memory, [6, 7, 8])
    each.tokens.append(6)  # it ends before the draft's first token gets its cell
    cache.release(each, keep=keep)
    assert cache.n_cells_used == memory.n_used == (5 if keep else 0)
    follower = sequence([1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert cache.n_known(follower) == memory.n_used
    assert cache.acquire(follower)
    compute(cache, memory, follower)
    assert memory.tokens(follower.slot) == follower.tokens


def test_a_draft_that_has_taken_cells_of_a_window_makes_its_sequence_begin_anew() -> None:
    memory = CountingMemory(window=2)
    cache = KVCache(memory, n_slots=4, n_cells=100)
    each = drafted(cache, memory, [6, 7, 8])
    cache.cut(each)
    assert (each.n_computed, each.n_drafted, memory.n_used, each.n_remaining) == (0, 0, 0, 5)
    compute(cache, memory, each)
    assert memory.tokens(each.slot) == each.tokens
