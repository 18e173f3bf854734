"""Scheduler with a memory and a machine of its own and no weights: random lives, and the policies one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.limits import Limits, RowTile
from llmcore.scheduling.cost_model import CostModel, Measurement
from llmcore.scheduling.host_cache import HostCache
from llmcore.scheduling.kv_cache import KVCache
from llmcore.scheduling.scheduler import Scheduler
from llmcore.scheduling.turns import HANDICAP_S
from llmcore.sequence import HIGH, LOW, NORMAL, Sequence
from tests.scheduling.test_kv_cache import CountingMemory

# A machine on which a step takes 20 ms, 5 ms for each token and 2 µs for each of its cells.
STEP_S, TOKEN_S, CELL_S = 0.02, 0.005, 2e-6

LIMITS = Limits(n_ctx=4096, n_running=4, n_waiting=100, n_batch=256)


def seconds(n_tokens: int, n_cells: int) -> float:
    return STEP_S + TOKEN_S * n_tokens + CELL_S * n_tokens * n_cells


def learned() -> CostModel:
    points = [(2**i, cells) for i in range(9) for cells in (0, 2000)]
    return CostModel([Measurement(n, 0, cells, seconds(n, cells)) for n, cells in points])


@dataclass
class Machine:
    """A scheduler, its memory and its time. Every token drawn is 0; `n_forced` tokens that are 1 follow each."""

    scheduler: Scheduler
    memory: CountingMemory
    now_s: float = 0.0
    n_forced: int = 0

    def add(self, *sequences: Sequence) -> None:
        for each in sequences:
            each.arrived_s = self.now_s
            self.scheduler.add(each, self.now_s)

    def step(self) -> dict[str, int]:
        """Computes one step as an engine would, ending answers that are long enough. Returns tokens by name of row."""
        batch = self.scheduler.schedule(self.now_s)
        for each in list(self.scheduler.full):
            self.scheduler.remove(each, "length", self.now_s)
        if batch is None:
            return {}
        slots = {each.slot: each for each in self.scheduler.in_step}
        for row in batch.rows:
            self.memory.compute(row.slot, row.start, slots[row.slot].tokens[row.start : row.start + row.n_tokens])
        rows = {slots[row.slot].request_id: row.n_tokens for row in batch.rows}
        self.now_s += seconds(batch.n_tokens, self.memory.n_used)
        for each, _ in self.scheduler.commit([0] * len(self.scheduler.scheduled())):
            for _ in range(min(self.n_forced, each.n_tokens_max - len(each.tokens))):
                self.scheduler.force(each, 1)
            if len(each.tokens) >= each.n_tokens_max:
                self.scheduler.remove(each, "length", self.now_s)
        for each in slots.values():
            if each.is_prefix and each.n_remaining == 0:
                self.scheduler.remove(each, "stop", self.now_s, pin=each.request_id)
        return rows

    def run(self, n_steps: int = 10_000) -> None:
        for _ in range(n_steps):
            if not self.scheduler.has_work:
                return
            self.step()
        raise AssertionError("it does not end")


def make(
    *, n_cells: int = 4096, costs: CostModel | None = None, is_cuttable: bool = True, n_host: int = 0, **limits: object
) -> Machine:
    memory = CountingMemory(is_cuttable=is_cuttable)
    wanted = replace(LIMITS, n_ctx=n_cells, **limits)  # type: ignore[arg-type]
    host = HostCache(n_host) if n_host else None
    cache = KVCache(memory, n_slots=wanted.n_running + 3, n_cells=n_cells, host=host)
    return Machine(Scheduler(cache, wanted, costs or learned()), memory)


def sequence(name: str, tokens: list[int] | range, n_answer: int = 4, priority: int = NORMAL) -> Sequence:
    return Sequence(name, list(tokens), n_prompt=len(tokens), n_tokens_max=len(tokens) + n_answer, priority=priority)


def prompt(start: int, n: int) -> range:
    return range(start * 10_000, start * 10_000 + n)


# --- Steps ------------------------------------------------------------------------------------------------------------


def test_a_prompt_is_computed_in_chunks_that_take_at_most_the_longest_step() -> None:
    machine = make(step_max_s=0.5)
    each = sequence("a", prompt(1, 400))
    machine.add(each)
    chunks = []
    while each.n_generated == 0:
        before_s = machine.now_s
        chunks.append(machine.step()["a"])
        assert machine.now_s - before_s <= 0.5 * 1.05
    assert sum(chunks) == 400
    assert min(chunks[:-1]) > 50, "and they are not shorter than they have to be"
    assert each.phase == "decode"


def test_a_batch_is_never_overfilled() -> None:
    machine = make(n_batch=64, step_max_s=100.0)
    machine.add(*(sequence(name, prompt(i, 50)) for i, name in enumerate("abcd")))
    while machine.scheduler.has_work:
        assert sum(machine.step().values()) <= 64


def test_without_any_measurement_chunks_are_small() -> None:
    machine = make(costs=CostModel())
    machine.add(sequence("a", prompt(1, 200)))
    assert machine.step() == {"a": 64}


def test_a_long_prompt_never_makes_a_stream_wait_longer_than_its_target() -> None:
    machine = make(inter_token_s=(0.1, 0.15, 0.5))
    machine.add(sequence("talking", prompt(1, 20), n_answer=1000))
    machine.step()
    machine.step()
    machine.add(sequence("long", prompt(2, 1000), n_answer=1))
    gaps = []
    while any(each.request_id == "long" for each in machine.scheduler.sequences):
        before_s = machine.now_s
        rows = machine.step()
        assert rows["talking"] == 1
        gaps.append(machine.now_s - before_s)
    assert max(gaps) <= 0.15 * 1.1
    assert sorted(gaps)[len(gaps) // 2] > 0.1, "the time is used"


def test_the_most_demanding_stream_sets_the_target() -> None:
    machine = make(inter_token_s=(0.11, 0.15, 0.5))
    machine.add(sequence("batch", prompt(1, 5), 1000, LOW), sequence("voice", prompt(2, 5), 10, HIGH))
    machine.step()
    machine.step()
    machine.add(sequence("long", prompt(3, 2000)))
    before_s = machine.now_s
    machine.step()
    assert machine.now_s - before_s <= 0.115
    while any(each.request_id == "voice" for each in machine.scheduler.sequences):
        machine.step()
    before_s = machine.now_s
    machine.step()
    assert 0.3 < machine.now_s - before_s <= 0.55


def test_prompts_go_on_where_streams_alone_are_too_slow_already() -> None:
    machine = make(inter_token_s=(0.01, 0.01, 0.01))
    machine.add(sequence("talking", prompt(1, 5), n_answer=10_000))
    machine.step()
    long = sequence("long", prompt(2, 100), n_answer=1)
    machine.add(long)
    for _ in range(200):
        machine.step()
    assert long.finish_reason == "length"


def test_steps_fill_whole_tiles_of_the_kernels() -> None:
    machine = make(step_max_s=0.5)
    machine.add(sequence("talking", prompt(1, 20), n_answer=1000))
    machine.step()
    machine.add(sequence("long", prompt(2, 1000), n_answer=1))
    for _ in range(20):
        assert sum(machine.step().values()) % 16 == 0
    alone = make(step_max_s=0.5)
    alone.add(sequence("first", prompt(1, 1000)), sequence("second", prompt(2, 77)))
    while any(each.phase == "prefill" for each in alone.scheduler.sequences):
        rows = alone.step()
        assert sum(rows.values()) % 16 == 0 or not alone.scheduler.waiting
    short = make(step_max_s=0.5)
    short.add(sequence("short", prompt(1, 77)))
    assert short.step() == {"short": 77}, "what fits is not cut"


def test_without_padding_a_step_takes_all_that_its_time_allows() -> None:
    """Beside an answer, each step of 150 ms has time for 25 rows: tiles of 16 that are padded would leave 9 of them out."""
    machine = make(tile=RowTile(is_padded=False))
    machine.add(sequence("talking", prompt(1, 20), n_answer=1000))
    machine.step()
    machine.add(sequence("long", prompt(2, 1000), n_answer=1))
    for _ in range(10):
        before_s = machine.now_s
        assert sum(machine.step().values()) % 16
        assert 0.13 < machine.now_s - before_s <= 0.16


@pytest.mark.parametrize(
    ("target_s", "n_tokens"),
    # One row takes 25 ms, 16 take 100 ms.
    [(0.06, 16), (0.054, 16), (0.051, 12), (0.04, 8), (0.03, 4), (0.02, 4)],
)
def test_on_a_slow_machine_a_step_may_take_longer_to_fill_a_tile(target_s: float, n_tokens: int) -> None:
    machine = make(inter_token_s=(target_s, target_s, target_s))
    machine.add(sequence("talking", [1], n_answer=1000))
    machine.step()
    machine.add(sequence("long", prompt(2, 1000), n_answer=1))
    assert sum(machine.step().values()) == n_tokens


def test_everybody_who_decodes_shares_a_step() -> None:
    machine = make()
    machine.add(*(sequence(name, prompt(i, 5), n_answer=10) for i, name in enumerate("abc")))
    machine.step()
    assert machine.step() == {"a": 1, "b": 1, "c": 1}


def test_after_a_rollback_the_same_step_comes_again() -> None:
    machine = make(n_batch=8)
    machine.add(sequence("a", prompt(0, 20)))
    machine.step()
    batch = machine.scheduler.schedule()
    assert batch is not None
    before = [(row.slot, row.start, row.n_tokens) for row in batch.rows]
    machine.memory.compute(batch.rows[0].slot, batch.rows[0].start, list(range(8, 12)))  # half of it was computed
    machine.scheduler.rollback()
    batch = machine.scheduler.schedule()
    assert batch is not None
    assert [(row.slot, row.start, row.n_tokens) for row in batch.rows] == before
    assert machine.memory.tokens(batch.rows[0].slot) == list(range(8))


# --- Order ------------------------------------------------------------------------------------------------------------


def finish_order(machine: Machine) -> list[str]:
    """Names in the order of their first tokens."""
    order: list[str] = []
    while machine.scheduler.has_work:
        before = {each.request_id: each for each in machine.scheduler.sequences}
        machine.step()
        order += [name for name, each in before.items() if each.n_generated and name not in order]
    return order


def test_the_shortest_prompt_comes_first() -> None:
    machine = make()
    machine.add(sequence("long", prompt(1, 1000)), sequence("short", prompt(2, 50)), sequence("middle", prompt(3, 300)))
    assert finish_order(machine) == ["short", "middle", "long"]


def test_a_long_prompt_is_not_starved_by_short_ones() -> None:
    machine = make(n_running=2)
    long = sequence("long", prompt(1, 1500))
    machine.add(long)
    for i in range(2, 400):
        machine.add(sequence(f"short{i}", prompt(i, 60), n_answer=2))
        machine.step()
        if long.finish_reason:
            break
    assert long.finish_reason == "length", "waiting counts as progress"


@pytest.mark.parametrize("first", [LOW, NORMAL])
def test_priorities_come_first_and_waiting_makes_up_for_them(first: int) -> None:
    machine = make(n_running=2)
    machine.add(sequence("slow", prompt(1, 600), priority=first), sequence("voice", prompt(2, 600), priority=HIGH))
    assert finish_order(machine) == ["voice", "slow"]
    machine.add(sequence("slow", prompt(3, 600), priority=first))
    machine.now_s += HANDICAP_S[first] + 1
    machine.add(sequence("voice", prompt(4, 600), priority=HIGH))
    assert finish_order(machine) == ["slow", "voice"]


def test_a_high_priority_takes_the_slot_of_a_low_one_which_loses_nothing() -> None:
    machine = make(n_running=2)
    batch = [sequence(name, prompt(i, 200), n_answer=300, priority=LOW) for i, name in enumerate("ab")]
    machine.add(*batch)
    while not all(each.n_generated > 3 for each in batch):
        machine.step()
    machine.add(sequence("normal", prompt(5, 20), n_answer=5))
    machine.step()
    assert machine.scheduler.n_preempted == 1
    voice = sequence("voice", prompt(6, 20), n_answer=5, priority=HIGH)
    machine.add(voice)
    machine.step()
    assert voice.slot >= 0
    n_tokens = 0
    while machine.scheduler.has_work:
        n_tokens += sum(machine.step().values())
    assert all(each.n_generated == 300 for each in batch)
    assert n_tokens < 2 * 300 + 50, "their prompts are not computed again"


def test_low_priorities_do_not_push_each_other_out() -> None:
    machine = make(n_running=1)
    machine.add(sequence("a", prompt(1, 20), priority=LOW), sequence("b", prompt(2, 20), priority=LOW))
    machine.run()
    assert machine.scheduler.n_preempted == 0


# --- Forced tokens ----------------------------------------------------------------------------------------------------


def test_forced_tokens_are_computed_in_one_row_with_the_drawn_one() -> None:
    machine = make()
    machine.n_forced = 4
    machine.add(sequence("a", prompt(1, 5), n_answer=25))
    assert [machine.step().get("a") for _ in range(5)] == [5, 5, 5, 5, 5]
    assert not machine.scheduler.has_work


def test_forced_tokens_come_before_the_prompts_of_others() -> None:
    machine = make(inter_token_s=(0.1, 0.1, 0.1))
    machine.n_forced = 8
    answered = sequence("answered", prompt(1, 5), n_answer=900)
    machine.add(answered)
    machine.step()
    machine.add(*(sequence(str(i), prompt(2 + i, 1000), n_answer=1, priority=HIGH) for i in range(2)))
    for _ in range(20):
        assert answered.phase == "decode"
        rows = machine.step()
        assert rows["answered"] == 9
        assert sum(rows.values()) > 9, "and prompts go on beside them"


def test_forced_tokens_of_one_do_not_hold_up_the_stream_of_another() -> None:
    machine = make(inter_token_s=(0.1, 0.1, 0.1))
    talking = sequence("talking", prompt(1, 5), n_answer=100)
    constrained = sequence("constrained", prompt(2, 5), n_answer=300)
    machine.add(talking, constrained)
    machine.step()
    for _ in range(200):
        machine.scheduler.force(constrained, 1)
    n_steps = 0
    while constrained.n_remaining > 1:
        before_s = machine.now_s
        rows = machine.step()
        n_steps += 1
        assert rows["talking"] == 1
        assert machine.now_s - before_s <= 0.1 * 1.1 * 1.9, "a tile may be filled, no more"
        assert constrained.phase == "decode"
    assert n_steps < 30


def test_a_token_that_could_not_be_drawn_leaves_the_sequence_as_it_is() -> None:
    machine = make()
    machine.add(sequence("a", prompt(1, 5)), sequence("b", prompt(2, 5)))
    scheduler = machine.scheduler
    batch = scheduler.schedule()
    assert batch is not None
    grown = scheduler.commit([-1, 7])
    assert [(each.request_id, token, each.n_generated) for each, token in grown] == [("a", -1, 0), ("b", 7, 1)]
    scheduler.remove(grown[0][0], "failed")
    assert scheduler.has_work


# --- Shared prefixes --------------------------------------------------------------------------------------------------


def test_those_who_arrive_together_compute_a_shared_prefix_once() -> None:
    machine = make(n_running=8)
    shared = list(prompt(1, 1000))
    callers = [sequence(f"caller{i}", [*shared, *prompt(10 + i, 20)], n_answer=2) for i in range(8)]
    machine.add(*callers)
    n_tokens = 0
    while machine.scheduler.has_work:
        n_tokens += sum(machine.step().values())
        check(machine)
    assert n_tokens <= 1000 + 8 * (20 + 2)
    assert all(each.n_generated == 2 for each in callers)


def test_waiting_for_a_prefix_survives_the_end_of_who_computes_it() -> None:
    machine = make()
    shared = list(prompt(1, 1000))
    leader, follower = sequence("leader", [*shared, 1]), sequence("follower", [*shared, 2])
    machine.add(leader)
    machine.step()
    machine.add(follower)
    machine.step()
    assert follower.slot < 0
    assert machine.scheduler.served == {"leader", "follower"}
    assert machine.scheduler.leader_of(follower) == "leader"
    machine.scheduler.remove(leader, "cancelled")
    done = leader.n_computed
    machine.step()
    assert follower.slot >= 0, "what the leader computed is taken over"
    machine.run()
    assert follower.n_generated == 4
    assert done == 0, "its tokens are reset when it gives its slot back"


def test_a_voice_that_waits_for_a_prefix_hurries_the_one_who_computes_it() -> None:
    machine = make(n_running=3)
    shared = list(prompt(1, 1500))
    batch = sequence("batch", [*shared, 1], priority=LOW)
    machine.add(batch)
    machine.step()
    machine.add(sequence("other", prompt(5, 1200)))
    voice = sequence("voice", [*shared, 2], priority=HIGH)
    machine.add(voice)
    machine.step()
    assert set(machine.step()) == {"batch"}
    assert finish_order(machine)[:2] == ["batch", "voice"]


def test_a_short_common_beginning_is_not_waited_for() -> None:
    machine = make(step_max_s=10.0)
    machine.add(sequence("a", [1, 2, 3, *prompt(1, 30)]), sequence("b", [1, 2, 3, *prompt(2, 30)]))
    assert set(machine.step()) == {"a", "b"}


def test_a_prefix_is_computed_without_an_answer_and_pinned() -> None:
    machine = make(n_cells=2048)
    prefix = Sequence("system", list(prompt(1, 500)), n_prompt=500, n_tokens_max=500, is_prefix=True)
    machine.add(prefix)
    machine.run()
    assert prefix.n_generated == 0
    assert machine.scheduler.cache.n_cells_pinned == 500
    follower = sequence("a", [*prompt(1, 500), 7])
    machine.add(follower)
    assert machine.step() == {"a": 1}
    machine.run()


def test_chunks_end_at_checkpoints_where_states_cannot_be_cut() -> None:
    machine = make(is_cuttable=False, n_host=10_000, step_max_s=10.0)
    each = sequence("a", prompt(1, 100))
    each.checkpoints = (30, 80)
    machine.add(each)
    assert [machine.step()["a"] for _ in range(3)] == [30, 50, 20]
    other = sequence("b", [*prompt(1, 80), 5, 6])
    machine.add(other)
    machine.step()
    assert other.n_cached == 80
    machine.run()


# --- Cells ------------------------------------------------------------------------------------------------------------


def test_no_more_run_than_slots() -> None:
    machine = make(n_running=2)
    machine.add(*(sequence(name, prompt(i, 5), n_answer=2) for i, name in enumerate("abc")))
    assert len(machine.step()) == 2
    assert len(machine.scheduler.waiting) == 1
    machine.run()


def test_a_prompt_that_does_not_fit_beside_the_running_waits() -> None:
    machine = make(n_cells=24, step_max_s=10.0)
    machine.add(sequence("a", prompt(0, 16), n_answer=2), sequence("b", prompt(1, 16), n_answer=2))
    assert machine.step() == {"a": 16}
    assert [each.request_id for each in machine.scheduler.waiting] == ["b"]
    machine.step()
    assert machine.step() == {"b": 16}


def test_when_the_cells_run_out_the_last_comer_goes_back_and_finishes_later() -> None:
    machine = make(n_cells=24)
    old, young = sequence("old", prompt(0, 8), n_answer=12), sequence("young", prompt(1, 8), n_answer=12)
    machine.add(old)
    machine.now_s = 1.0
    machine.add(young)
    preempted = False
    while machine.scheduler.has_work:
        machine.step()
        preempted = preempted or (young in machine.scheduler.waiting and young.n_generated > 0)
        assert old not in machine.scheduler.waiting
    assert preempted
    assert old.n_generated == young.n_generated == 12


def test_what_cannot_go_on_even_alone_is_told_so() -> None:
    machine = make(n_cells=30)
    prefix = Sequence("system", list(prompt(1, 10)), n_prompt=10, n_tokens_max=10, is_prefix=True)
    talking, late = sequence("talking", prompt(2, 10), n_answer=100), sequence("late", prompt(3, 25))
    machine.add(prefix, talking)
    machine.run()
    assert talking.finish_reason == "length"
    assert talking.n_generated == 11
    machine.add(late)
    machine.run()
    assert (late.finish_reason, late.n_generated) == ("length", 0)


def test_a_shift_forgets_the_middle_and_goes_on() -> None:
    machine = make(n_cells=64)
    each = sequence("a", range(20), n_answer=100)
    machine.add(each)
    for _ in range(10):
        machine.step()
    before = list(each.tokens)
    machine.scheduler.shift(each, 5, 12)
    assert each.tokens == before[:5] + before[17:]
    assert each.n_computed == 5
    assert each.n_generated == 10
    machine.step()
    check(machine)
    assert each.n_generated == 11


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_removing_in_any_phase_leaves_the_others_alone(steps: int) -> None:
    machine = make(n_batch=4)
    gone, stays = sequence("gone", prompt(1, 10), n_answer=50), sequence("stays", prompt(2, 10), n_answer=50)
    machine.add(gone, stays)
    for _ in range(steps):
        machine.step()
    machine.scheduler.remove(gone, "cancelled")
    assert gone.phase == "finished"
    machine.run()
    assert stays.n_generated == 50


# --- Random lives -----------------------------------------------------------------------------------------------------

arrival = st.tuples(
    st.integers(0, 30),  # step at which it comes
    st.lists(st.integers(0, 2), min_size=1, max_size=8),  # blocks of tokens
    st.integers(1, 12),  # length of the answer
    st.one_of(st.none(), st.integers(0, 40)),  # step at which it is cancelled
    st.sampled_from([HIGH, NORMAL, LOW]),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(arrival, min_size=1, max_size=10),
    st.integers(100, 300),
    st.integers(1, 4),
    st.integers(4, 40),
    st.integers(0, 200),
    st.booleans(),
    st.integers(0, 5),
)
def test_nobody_starves_and_the_books_are_true(
    arrivals: list[tuple[int, list[int], int, int | None, int]],
    n_cells: int,
    n_running: int,
    n_batch: int,
    n_host: int,
    is_cuttable: bool,
    n_forced: int,
) -> None:
    machine = make(n_cells=n_cells, n_running=n_running, n_batch=n_batch, n_host=n_host, is_cuttable=is_cuttable)
    machine.n_forced = n_forced
    scheduler = machine.scheduler
    everybody = []
    for i, (_, blocks, n, _, priority) in enumerate(arrivals):
        tokens = [token for block in blocks for token in [block] * 11]
        each = sequence(str(i), tokens, n, priority)
        each.checkpoints = (len(tokens) // 2,)
        everybody.append(each)
    for now in range(3000):
        for each, (at, _, _, cancelled_at, _) in zip(everybody, arrivals, strict=True):
            if now == at:
                machine.add(each)
            if cancelled_at is not None and now == max(at, cancelled_at) and each.finish_reason is None:
                scheduler.remove(each, "cancelled")
        had_work = scheduler.has_work
        assert bool(machine.step()) == had_work, "work that is there is done"
        check(machine)
        if now > 40 and not scheduler.has_work:
            break
    for each in everybody:
        assert each.finish_reason is not None, "everybody is served or cancelled"
        assert each.finish_reason == "cancelled" or len(each.tokens) == each.n_tokens_max
    assert scheduler.cache.n_cells_held == 0
    assert scheduler.admission.n_tokens_waiting == 0


def check(machine: Machine) -> None:
    scheduler, memory = machine.scheduler, machine.memory
    assert scheduler.cache.n_cells_used == memory.n_used <= scheduler.cache.n_cells
    assert len(scheduler.running) <= scheduler.limits.n_running
    assert not set(scheduler.running) & set(scheduler.waiting)
    for each in scheduler.running:
        assert 0 <= each.n_cached <= each.n_computed < len(each.tokens)
        assert memory.tokens(each.slot) == each.tokens[: each.n_computed]
    for each in scheduler.waiting:
        assert each.slot == -1
        assert each.n_computed == 0
