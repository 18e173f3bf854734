"""Slots are shared: many answers to one request, or many requests of one key, leave room for others."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from llmcore.scheduling.shares import Shares
from llmcore.sequence import HIGH, LOW, NORMAL, Sequence
from tests.scheduling.simulator import LIMITS, Caller, Simulator

N_SLOTS = LIMITS.n_running
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def sequence(name: str, *holders: str, group: str = "") -> Sequence:
    names = tuple(filter(None, (*holders, group)))
    return Sequence(name, [1, 2], n_prompt=2, n_tokens_max=10, holders=names, group=group)


def many(
    n: int, at_s: float = 0.0, *, n_answer: int = 200, key: str = "", group: str = "request", **more: Any
) -> list[Caller]:
    """Answers to one prompt."""
    return [Caller(at_s, 200, n_answer, shared=1, n_shared=190, key=key, group=group, **more) for _ in range(n)]


def waited_s(caller: Caller) -> float:
    assert caller.first_token_s is not None
    return caller.first_token_s


class Watched(Simulator):
    """Notes how many slots each holder had at most while sequences of others waited, and altogether."""

    def step(self) -> None:
        super().step()
        waiting, running = self.scheduler.waiting, self.scheduler.running
        self.peak = getattr(self, "peak", {})
        for name in {name for each in running for name in each.holders}:
            n = sum(name in each.holders for each in running)
            self.peak[name] = max(self.peak.get(name, 0), n)
        self.n_idle_steps = getattr(self, "n_idle_steps", 0)
        if waiting and len(running) < self.scheduler.limits.n_running:
            self.n_idle_steps += 1


# --- 64 answers at once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_s", [0.0, 0.5, 3.0, 10.0])
def test_64_answers_to_one_request_do_not_hold_up_another(at_s: float) -> None:
    crowd, bystander = many(64), Caller(at_s, 64, 20)
    Simulator.of([*crowd, bystander]).run()
    assert waited_s(bystander) <= 2.0, "the step that is out, and its own beside those who are answered"
    assert all(each.end_s is not None for each in crowd)


def test_the_same_without_names_waits_for_the_end_of_an_answer() -> None:
    crowd, bystander = many(64, group=""), Caller(3.0, 64, 20)
    Simulator.of([*crowd, bystander]).run()
    assert waited_s(bystander) > 5.0


def test_64_answers_alone_take_most_of_the_slots() -> None:
    simulator = Watched.of(many(64))
    simulator.run()
    assert isinstance(simulator, Watched)
    assert simulator.peak == {"request": 6}


@pytest.mark.parametrize(("n_slots", "n_most"), [(1, 1), (2, 1), (3, 2), (4, 3), (8, 6), (16, 12)])
def test_a_request_leaves_a_quarter_of_the_slots(n_slots: int, n_most: int) -> None:
    simulator = Watched.of(many(3 * n_slots, n_answer=20), replace(LIMITS, n_running=n_slots))
    simulator.run()
    assert isinstance(simulator, Watched)
    assert simulator.peak == {"request": n_most}


def test_requests_of_one_answer_use_every_slot() -> None:
    for callers in ([Caller(0.0, 64, 50) for _ in range(20)], [Caller(0.0, 64, 50, key="ann") for _ in range(20)]):
        simulator = Simulator.of(callers)
        while simulator.advance():
            if len(simulator.scheduler.running) == N_SLOTS:
                break
        assert len(simulator.scheduler.running) == N_SLOTS


def test_freed_slots_go_to_others_first() -> None:
    """A key has all slots; of those that become free it gets none back while it has half of them and another key waits."""
    ann = [Caller(0.0, 64, 100 + 40 * i, key="ann") for i in range(30)]
    bob = [Caller(2.0, 64, 400, key="bob") for _ in range(10)]
    simulator = Simulator.of([*ann, *bob])
    shares = []
    while simulator.advance():
        running, waiting = simulator.scheduler.running, simulator.scheduler.waiting
        if any("bob" in each.holders for each in waiting) and any("ann" in each.holders for each in waiting):
            shares.append(tuple(sum(key in each.holders for each in running) for key in ("ann", "bob")))
    n_ann = [n for n, _ in shares]
    assert n_ann[:1] == [N_SLOTS]
    assert (4, 4) in shares
    assert all(after <= max(before, 4) for before, after in itertools.pairwise(n_ann))


def test_a_request_shares_also_within_its_key() -> None:
    crowd, bystander = many(64, key="ann"), Caller(3.0, 64, 20, key="ann")
    Simulator.of([*crowd, bystander]).run()
    assert waited_s(bystander) <= 2.0


def test_keys_with_many_requests_of_many_answers_leave_a_third_its_part() -> None:
    hogs = [*many(32, key="ann", group="r1"), *many(32, key="ann", group="r2"), *many(32, 0.5, key="bob", group="r3")]
    bystander = Caller(8.0, 64, 20, key="eve")
    Simulator.of([*hogs, bystander]).run()
    ends = sorted(each.at_s + each.end_s for each in hogs if each.end_s is not None)
    next_end_s = next(end_s for end_s in ends if end_s > 8.0)
    assert 8.0 + waited_s(bystander) <= next_end_s + 2.0, "the first slot that becomes free is its own"


def test_only_low_priorities_lose_a_slot_to_another_of_their_own_kind() -> None:
    for priority, is_soon in ((LOW, True), (NORMAL, False)):
        hog = [Caller(0.0, 64, 400, priority, key="ann") for _ in range(30)]
        bystander = Caller(3.0, 64, 20, priority, key="bob")
        simulator = Simulator.of([*hog, bystander])
        simulator.run()
        assert (waited_s(bystander) <= 2.0) == is_soon
        assert (simulator.scheduler.n_preempted > 0) == is_soon
        assert all(each.end_s is not None for each in hog)


def test_low_priorities_beside_a_request_that_has_all_it_may_keep_their_slots() -> None:
    low = [Caller(0.0, 64, 300, LOW) for _ in range(2)]
    simulator = Simulator.of([*low, *many(20, 0.5, n_answer=40)])
    simulator.run()
    assert simulator.scheduler.n_preempted == 0


def test_a_low_one_that_has_little_is_not_the_one_to_go() -> None:
    hog = [Caller(0.0, 64, 400, LOW, key="ann") for _ in range(7)]
    eve, bob = Caller(1.0, 64, 400, LOW, key="eve"), Caller(3.0, 64, 20, LOW, key="bob")
    simulator = Simulator.of([*hog, eve, bob])
    simulator.run()
    assert simulator.scheduler.n_preempted == 1
    assert waited_s(bob) <= 2.0
    assert eve.end_s is not None
    assert eve.end_s < max(each.end_s or 0.0 for each in hog)


# --- The queue --------------------------------------------------------------------------------------------------------


def test_a_queue_that_one_holder_fills_has_places_for_others() -> None:
    limits = replace(LIMITS, n_waiting=16, ttft_max_s=0.0)
    hog = many(40, n_answer=50)
    others = [Caller(1.0, 64, 10, HIGH) for _ in range(4)]
    simulator = Simulator.of([*hog, *others], limits)
    simulator.run()
    assert not any(each.is_refused for each in others)


def test_places_are_counted_by_holder() -> None:
    waiting = [sequence(str(i), "ann", group=f"g{i % 2}") for i in range(8)]
    shares = Shares(4, 8, waiting, [])
    assert shares.n_waiting(("ann",)) == 8
    assert shares.n_waiting(("bob",)) == shares.n_waiting(()) == 6
    waiting += [sequence("x"), sequence("y")]
    assert shares.n_waiting(("bob",)) == 8


def test_a_newcomer_is_not_counted_behind_more_of_one_request_than_may_run() -> None:
    limits = replace(LIMITS, n_waiting=1000, ttft_max_s=1e6)
    simulator = Simulator.of(many(64), limits)
    for _ in range(5):
        simulator.advance()
    alone, in_group = Caller(simulator.now_s, 64), Caller(simulator.now_s, 64, group="request")
    assert simulator.predicted_s(alone) < simulator.predicted_s(in_group)


# --- Whatever comes ---------------------------------------------------------------------------------------------------

CALLERS = st.lists(
    st.builds(
        Caller,
        at_s=st.floats(0.0, 3.0),
        n_tokens=st.integers(1, 300),
        n_answer=st.integers(1, 40),
        priority=st.sampled_from([HIGH, NORMAL, LOW]),
        key=st.sampled_from(["", "ann", "bob"]),
        group=st.sampled_from(["", "", "g1", "g2"]),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None, phases=PHASES)
@given(CALLERS, st.integers(1, 9))
def test_all_are_answered_and_no_request_takes_the_last_slots(callers: list[Caller], n_slots: int) -> None:
    callers = [replace(each, group=each.group and f"{each.key}/{each.group}") for each in callers]
    simulator = Watched.of(callers, replace(LIMITS, n_running=n_slots))
    simulator.run()
    assert isinstance(simulator, Watched)
    assert all(each.end_s is not None for each in callers)
    most = max(1, n_slots - max(1, n_slots // 4))
    assert all(n <= most for name, n in getattr(simulator, "peak", {}).items() if "/" in name)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 12),
    st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=12),
    st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=12),
)
def test_a_sequence_leaves_a_free_slot_only_to_holders_with_fewer(
    n_slots: int, running: list[str], waiting: list[str]
) -> None:
    taken = [sequence(str(i), name) for i, name in enumerate(running[: n_slots - 1])]
    queue = [sequence(f"w{i}", name) for i, name in enumerate(waiting)]
    view = Shares(n_slots, 8, queue, taken).snapshot()

    def count(each: Sequence) -> int:
        return sum(bool(each.holders) and each.holders == other.holders for other in taken)

    for each in queue:
        n_less = sum(count(other) < count(each) for other in queue)
        assert view.must_wait(each) == (n_slots - len(taken) <= n_less)
    assert not all(view.must_wait(each) for each in queue) or not queue
