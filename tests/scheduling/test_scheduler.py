"""Scheduler with a memory and a machine of its own and no weights: random lives, and the policies one by one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.sequence import HIGH, LOW, NORMAL, Sequence
from llmcore.speculation.draft import Draft
from tests.scheduling.machine import check, finish_order, make, prompt, sequence
from tests.speculation.lone_drafts import LoneDrafts

# --- Steps ------------------------------------------------------------------------------------------------------------


def test_a_batch_is_never_overfilled() -> None:
    machine = make(n_batch=64, step_max_s=100.0)
    machine.add(*(sequence(name, prompt(i, 50)) for i, name in enumerate("abcd")))
    while machine.scheduler.has_work:
        assert sum(machine.step().values()) <= 64


def test_all_decoding_sequences_share_a_step() -> None:
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


# --- Forced tokens ----------------------------------------------------------------------------------------------------


def test_forced_tokens_are_computed_in_one_row_with_the_sampled_one() -> None:
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


def test_a_token_that_could_not_be_sampled_leaves_the_sequence_as_it_is() -> None:
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


def test_simultaneous_arrivals_compute_a_shared_prefix_once() -> None:
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


def test_a_follower_survives_the_end_of_its_leader() -> None:
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


def test_a_follower_lends_its_urgency_to_its_leader() -> None:
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


# --- Cells ------------------------------------------------------------------------------------------------------------


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


def test_a_sequence_without_cells_even_alone_is_full() -> None:
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


# --- Drafts -----------------------------------------------------------------------------------------------------------


class RandomDrafts(LoneDrafts):
    """Drafts of the tokens 0 and 1, which are those of answers. Each is as likely as the other, and said to be sure."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        n = self._chance.randint(0, n_max)
        return Draft(tuple(self._chance.choices((0, 1), k=n)), (0.99,) * n) if n else None


class RightDrafts(LoneDrafts):
    """Drafts of as many zeros as may be proposed."""

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        return Draft((0,) * n_max, (0.99,) * n_max)


def test_tokens_that_agree_with_a_draft_take_one_step() -> None:
    machine = make(source=RightDrafts(), inter_token_s=(1.0, 1.0, 1.0))
    each = sequence("a", prompt(1, 5), n_answer=60)
    machine.add(each)
    assert machine.step() == {"a": 5}, "a prompt has no draft"
    n_steps = 0
    while machine.scheduler.has_work:
        n_before = each.n_generated
        n_rows = machine.step()["a"]
        assert each.n_generated - n_before == n_rows, "every place of the draft gave a token, and the one behind it"
        n_steps += 1
        check(machine)
    assert each.n_generated == 60
    assert n_steps < 10


def test_a_rejected_draft_leaves_no_cells() -> None:
    machine = make(source=RightDrafts(), inter_token_s=(1.0, 1.0, 1.0))
    each = sequence("a", prompt(1, 5), n_answer=30)
    machine.add(each)
    machine.step()
    batch = machine.scheduler.schedule()
    assert batch is not None
    [verification] = machine.scheduler.drafted
    n = len(verification.draft.tokens)
    assert n > 1
    assert batch.wants_logits[: batch.n_tokens].tolist() == [1] * (n + 1)
    machine.memory.compute(each.slot, 5, [each.tokens[5], *verification.draft.tokens])
    machine.scheduler.commit([7])
    assert machine.scheduler.agreeing() == []
    assert (each.n_computed, each.n_drafted, machine.memory.n_used) == (6, n, 6 + n)
    machine.scheduler.cut_drafts()
    check(machine)
    assert (verification.n_agreed, verification.n_decided) == (0, 1)


def test_a_rollback_takes_a_draft_back() -> None:
    machine = make(source=RightDrafts(), inter_token_s=(1.0, 1.0, 1.0))
    each = sequence("a", prompt(1, 5), n_answer=30)
    machine.add(each)
    machine.step()
    for _ in range(2):
        batch = machine.scheduler.schedule()
        assert batch is not None
        machine.memory.compute(each.slot, 5, batch.tokens[: batch.n_tokens].tolist())
        machine.scheduler.rollback()
        check(machine)
    machine.run()
    assert each.n_generated == 30


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
    st.one_of(st.none(), st.randoms(use_true_random=False)),
)
def test_no_sequence_starves_and_books_equal_memory(
    arrivals: list[tuple[int, list[int], int, int | None, int]],
    n_cells: int,
    n_running: int,
    n_batch: int,
    n_host: int,
    is_cuttable: bool,
    n_forced: int,
    chance: random.Random | None,
) -> None:
    source = RandomDrafts(chance) if chance is not None and is_cuttable else None
    machine = make(
        n_cells=n_cells, n_running=n_running, n_batch=n_batch, n_host=n_host, is_cuttable=is_cuttable, source=source
    )
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


@given(st.integers(24, 64), st.integers(2, 4), st.integers(0, 60), st.booleans())
def test_drafts_take_no_cells_from_prompts_that_come_back(n_cells: int, n: int, n_host: int, is_forced: bool) -> None:
    machine = make(n_cells=n_cells, n_host=n_host, source=RightDrafts(), inter_token_s=(1.0, 1.0, 1.0))
    machine.n_forced = int(is_forced)
    answers = [sequence(str(i), prompt(i, 6), n_answer=14) for i in range(n)]
    machine.add(*answers)
    machine.run(200)
    check(machine)
    assert {each.n_generated for each in answers} == {14}
