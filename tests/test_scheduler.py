"""Scheduler with a memory of its own and no weights: random lives, and the policies one by one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.errors import OverloadedError
from llmcore.kvcache import KVCache
from llmcore.scheduler import Limits, Scheduler
from llmcore.sequence import Sequence
from tests.test_kvcache import CountingMemory


def make(
    *, n_cells: int = 64, n_running: int = 3, n_waiting: int = 100, n_batch: int = 16, n_chunk_shared: int = 4
) -> tuple[Scheduler, CountingMemory]:
    memory = CountingMemory()
    cache = KVCache(memory, n_slots=n_running + 3, n_cells=n_cells)
    limits = Limits(
        n_ctx=n_cells,
        n_running=n_running,
        n_waiting=n_waiting,
        n_batch=n_batch,
        n_chunk_alone=n_batch,
        n_chunk_shared=n_chunk_shared,
    )
    return Scheduler(cache, limits), memory


def sequence(name: str, tokens: list[int], n_answer: int = 4, arrived_s: float = 0.0) -> Sequence:
    return Sequence(name, list(tokens), n_prompt=len(tokens), n_tokens_max=len(tokens) + n_answer, arrived_s=arrived_s)


def step(scheduler: Scheduler, memory: CountingMemory, token: int = 0) -> list[tuple[str, int]]:
    """Computes one step as an engine would, ending answers that are long enough. Returns (name, tokens of its row)."""
    batch = scheduler.schedule()
    if batch is None:
        return []
    slots = {each.slot: each for each in scheduler.in_step}
    for row in batch.rows:
        memory.compute(row.slot, row.start, slots[row.slot].tokens[row.start : row.start + row.n_tokens])
    rows = [(slots[row.slot].request_id, row.n_tokens) for row in batch.rows]
    for each, _ in scheduler.commit([token] * len(scheduler.scheduled())):
        if len(each.tokens) >= each.n_tokens_max:
            scheduler.remove(each, "length")
    return rows


def test_a_prompt_is_computed_in_chunks_and_then_decoded() -> None:
    scheduler, memory = make(n_batch=8)
    each = sequence("a", list(range(20)))
    scheduler.add(each)
    assert [step(scheduler, memory) for _ in range(4)] == [[("a", 8)], [("a", 8)], [("a", 4)], [("a", 1)]]
    assert each.n_generated == 2
    assert each.phase == "decode"


def test_decoding_comes_first_and_prompts_get_small_chunks_beside_it() -> None:
    scheduler, memory = make(n_chunk_shared=4)
    scheduler.add(sequence("talking", [1, 2], n_answer=50))
    step(scheduler, memory)
    scheduler.add(sequence("long", list(range(100, 120))))
    assert step(scheduler, memory) == [("talking", 1), ("long", 4)]
    assert step(scheduler, memory) == [("talking", 1), ("long", 4)]


def test_everybody_who_decodes_shares_a_step() -> None:
    scheduler, memory = make()
    for name in "abc":
        scheduler.add(sequence(name, [ord(name)], n_answer=10))
    step(scheduler, memory)
    assert sorted(step(scheduler, memory)) == [("a", 1), ("b", 1), ("c", 1)]


def test_no_more_run_than_slots() -> None:
    scheduler, memory = make(n_running=2)
    for name in "abc":
        scheduler.add(sequence(name, [ord(name)], n_answer=2))
    assert sorted(step(scheduler, memory)) == [("a", 1), ("b", 1)]
    assert [each.request_id for each in scheduler.waiting] == ["c"]
    step(scheduler, memory)
    assert step(scheduler, memory) == [("c", 1)]


def test_too_many_waiting_are_refused() -> None:
    scheduler, memory = make(n_running=1, n_waiting=1)
    scheduler.add(sequence("a", [1]))
    step(scheduler, memory)
    scheduler.add(sequence("b", [2]))
    with pytest.raises(OverloadedError):
        scheduler.add(sequence("c", [3]))


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_removing_in_any_phase_leaves_the_others_alone(steps: int) -> None:
    scheduler, memory = make(n_batch=4)
    gone, stays = sequence("gone", list(range(10)), n_answer=50), sequence("stays", list(range(50, 60)), n_answer=50)
    scheduler.add(gone)
    scheduler.add(stays)
    for _ in range(steps):
        step(scheduler, memory)
    scheduler.remove(gone, "cancelled")
    assert gone.phase == "finished"
    while stays.phase != "finished":
        assert step(scheduler, memory)
    assert stays.n_generated == 50
    assert not scheduler.has_work


def test_a_prompt_that_does_not_fit_beside_the_running_waits() -> None:
    scheduler, memory = make(n_cells=24)
    scheduler.add(sequence("a", list(range(16)), n_answer=2))
    scheduler.add(sequence("b", list(range(50, 66)), n_answer=2))
    assert step(scheduler, memory) == [("a", 16)]
    assert [each.request_id for each in scheduler.waiting] == ["b"]
    step(scheduler, memory)
    assert step(scheduler, memory) == [("b", 16)]


def test_when_the_cells_run_out_the_last_comer_goes_back_and_finishes_later() -> None:
    scheduler, memory = make(n_cells=24)
    old = sequence("old", list(range(8)), n_answer=12, arrived_s=1.0)
    young = sequence("young", list(range(50, 58)), n_answer=12, arrived_s=2.0)
    scheduler.add(old)
    scheduler.add(young)
    preempted = False
    for _ in range(200):
        if not scheduler.has_work:
            break
        step(scheduler, memory)
        preempted = preempted or (young in scheduler.waiting and young.n_generated > 0)
        assert old not in scheduler.waiting
    assert preempted
    assert old.n_generated == young.n_generated == 12


def test_after_a_rollback_the_same_step_comes_again() -> None:
    scheduler, memory = make(n_batch=8)
    scheduler.add(sequence("a", list(range(20))))
    step(scheduler, memory)
    batch = scheduler.schedule()
    assert batch is not None
    before = [(row.slot, row.start, row.n_tokens) for row in batch.rows]
    memory.compute(batch.rows[0].slot, batch.rows[0].start, list(range(8, 12)))  # half of it was computed
    scheduler.rollback()
    batch = scheduler.schedule()
    assert batch is not None
    assert [(row.slot, row.start, row.n_tokens) for row in batch.rows] == before
    assert memory.tokens(batch.rows[0].slot) == list(range(8))


arrival = st.tuples(
    st.integers(0, 30),  # step at which it comes
    st.lists(st.integers(0, 2), min_size=1, max_size=20),
    st.integers(1, 12),  # length of the answer
    st.one_of(st.none(), st.integers(0, 40)),  # step at which it is cancelled
)


@settings(max_examples=150, deadline=None)
@given(st.lists(arrival, min_size=1, max_size=10), st.integers(32, 64), st.integers(1, 4), st.integers(4, 16))
def test_nobody_starves_and_the_books_are_true(
    arrivals: list[tuple[int, list[int], int, int | None]], n_cells: int, n_running: int, n_batch: int
) -> None:
    scheduler, memory = make(n_cells=n_cells, n_running=n_running, n_batch=n_batch)
    everybody = [sequence(str(i), tokens, n, float(at)) for i, (at, tokens, n, _) in enumerate(arrivals)]
    for now in range(1500):
        for each, (at, _, _, cancelled_at) in zip(everybody, arrivals, strict=True):
            if now == at:
                scheduler.add(each)
            if cancelled_at is not None and now == max(at, cancelled_at) and each.finish_reason is None:
                scheduler.remove(each, "cancelled")
        worked = step(scheduler, memory)
        assert bool(worked) == scheduler.has_work or worked, "work that is there is done"
        check(scheduler, memory, n_running, n_batch)
        if now > 40 and not scheduler.has_work:
            break
    for each in everybody:
        assert each.finish_reason is not None, "everybody is served or cancelled"
        assert each.finish_reason == "cancelled" or len(each.tokens) == each.n_tokens_max


def check(scheduler: Scheduler, memory: CountingMemory, n_running: int, n_batch: int) -> None:
    assert scheduler.cache.n_cells_used == memory.n_used <= scheduler.cache.n_cells
    assert len(scheduler.running) <= n_running
    for each in scheduler.running:
        assert 0 <= each.n_cached <= each.n_computed < len(each.tokens)
        assert memory.tokens(each.slot) == each.tokens[: each.n_computed]
    for each in scheduler.waiting:
        assert each.slot == -1
        assert each.n_computed == 0
