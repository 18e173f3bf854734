"""Admission: what is refused, with which word on when to come back. On the machine of test_scheduler."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.errors import OverloadedError
from llmcore.sequence import HIGH, LOW, NORMAL
from tests.scheduling.machine import make, prompt, sequence

# (tokens, slots) to wait for. The one slot becomes free after a second, as long as no sequence has finished.
ONE_SLOT = (0, 1)


def test_too_many_waiting_are_refused() -> None:
    machine = make(n_running=1, n_waiting=1)
    machine.add(sequence("a", prompt(1, 5)))
    machine.step()
    machine.add(sequence("b", prompt(2, 5)))
    with pytest.raises(OverloadedError, match="1 requests are waiting") as caught:
        machine.add(sequence("c", prompt(3, 5)))
    assert caught.value.retry_after_s > 0
    assert len(machine.scheduler.waiting) == 1


def test_too_many_tokens_waiting_are_refused_but_shared_ones_count_once() -> None:
    machine = make(n_running=1, n_waiting_tokens=1200)
    shared = list(prompt(1, 1000))
    machine.add(sequence("a", [*shared, 1]))
    for i in range(5):
        machine.add(sequence(f"b{i}", [*shared, 2, i]))
    with pytest.raises(OverloadedError, match="tokens of prompts are waiting") as caught:
        machine.add(sequence("c", prompt(2, 400)))
    assert caught.value.retry_after_s == pytest.approx(1.1, rel=0.2)
    machine.run()
    machine.add(sequence("alone", prompt(3, 2000)))  # nothing waits: it is taken, however long
    machine.run()


def test_a_first_token_that_would_come_too_late_is_refused_with_the_time_to_come_back() -> None:
    machine = make(ttft_max_s=7.0)
    machine.add(sequence("a", prompt(1, 800)))
    machine.add(sequence("b", prompt(2, 100)))
    with pytest.raises(OverloadedError, match="first token") as caught:
        machine.add(sequence("c", prompt(3, 850)))
    assert 1 < caught.value.retry_after_s < 12
    machine.add(sequence("voice", prompt(4, 800), priority=HIGH))
    machine.run()
    machine.add(sequence("c", prompt(3, 850)))
    machine.run()


def test_what_is_cached_is_not_counted() -> None:
    machine = make(ttft_max_s=5.0)
    machine.add(sequence("a", prompt(1, 800)))
    machine.run()
    machine.add(sequence("b", prompt(2, 600)))
    again = sequence("c", [*prompt(1, 800), 1])
    machine.add(again)
    assert again.n_expected == 1
    assert machine.scheduler.admission.n_tokens_waiting == 601


def test_the_wait_for_a_slot_is_learned_from_what_finishes() -> None:
    machine = make(n_running=1, n_waiting=0)
    machine.add(sequence("a", prompt(1, 5), n_answer=100))
    machine.run()
    took_s = machine.now_s
    machine.add(sequence("b", prompt(2, 5)))
    machine.step()
    with pytest.raises(OverloadedError) as caught:
        machine.add(sequence("c", prompt(3, 5)))
    assert caught.value.retry_after_s == pytest.approx(took_s, rel=0.2)


def test_the_time_to_first_token_is_corrected_by_those_that_came() -> None:
    allowed_s = 0.1
    machine = make(n_running=1, ttft_max_s=allowed_s)
    admission = machine.scheduler.admission
    machine.add(sequence("a", prompt(1, 500), n_answer=50))
    machine.step()

    def feared_s() -> float:
        """With a tenth of what is reckoned for each of the four deviations: 1.4 times as much, if nothing is corrected."""
        with pytest.raises(OverloadedError, match="first token") as caught:
            machine.add(sequence("b", prompt(2, 500)))
        return caught.value.retry_after_s + allowed_s

    reckoned_s = feared_s() / 1.4
    for i in range(60):
        late = sequence(f"c{i}", prompt(3, 5))
        late.ahead, late.arrived_s = ONE_SLOT, machine.now_s
        admission.answered(late, machine.now_s + 3.0)
    assert feared_s() == pytest.approx(3.4 * reckoned_s, rel=0.01)
    for i in range(60):
        brief = sequence(f"d{i}", prompt(3, 5))
        brief.ahead, brief.arrived_s = (0, 0), machine.now_s
        admission.answered(brief, machine.now_s + 3.0)
    assert feared_s() == pytest.approx(3.4 * reckoned_s, rel=0.01)


def test_where_first_tokens_come_when_they_like_fewer_are_let_in() -> None:
    machine = make(n_running=1, ttft_max_s=4.0)
    admission = machine.scheduler.admission
    machine.add(sequence("a", prompt(1, 5), n_answer=100))
    machine.step()
    machine.add(sequence("b", prompt(2, 5)))
    for i in range(30):
        odd = sequence(f"c{i}", prompt(3, 5))
        odd.ahead, odd.arrived_s = ONE_SLOT, machine.now_s
        admission.answered(odd, machine.now_s + (0.5 if i % 2 else 1.5))
    with pytest.raises(OverloadedError, match="first token"):
        machine.add(sequence("d", prompt(4, 5)))
    for i in range(60):
        exact = sequence(f"e{i}", prompt(3, 5))
        exact.ahead, exact.arrived_s = ONE_SLOT, machine.now_s
        admission.answered(exact, machine.now_s + 1.0)
    machine.add(sequence("d", prompt(4, 5)))


PRIORITIES = st.sampled_from((HIGH, NORMAL, LOW))
COMERS = st.lists(st.tuples(st.integers(1, 900), PRIORITIES, st.integers(0, 8)), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(COMERS, st.sampled_from((0.0, 3.0, 30.0)), st.sampled_from((2, 100)), st.sampled_from((0, 1500)))
def test_a_refusal_in_advance_is_the_refusal_of_the_request(
    comers: list[tuple[int, int, int]], ttft_max_s: float, n_waiting: int, n_waiting_tokens: int
) -> None:
    machine = make(n_running=2, ttft_max_s=ttft_max_s, n_waiting=n_waiting, n_waiting_tokens=n_waiting_tokens)
    for i, (n_tokens, priority, n_steps) in enumerate(comers):
        refusals = machine.scheduler.admission.refusals(machine.now_s)
        comer = sequence(str(i), prompt(i, n_tokens), priority=priority)
        try:
            machine.add(comer)
        except OverloadedError:
            pass
        else:
            assert not refusals or refusals[priority] is None
        for _ in range(n_steps):
            machine.step()
    machine.run()
    assert machine.scheduler.admission.refusals(machine.now_s) == ()
    assert len(machine.scheduler.waiting) == 0


def test_refusals_in_advance_are_by_priority() -> None:
    machine = make(n_running=1, ttft_max_s=5.0)
    assert machine.scheduler.admission.refusals(0.0) == ()
    machine.add(sequence("a", prompt(1, 5), n_answer=100))
    machine.step()
    for i in range(2, 5):
        machine.add(sequence(f"b{i}", prompt(i, 5)))
    for _ in range(10):
        machine.step()
    high, normal, low = machine.scheduler.admission.refusals(machine.now_s)
    assert high is None, "it would be computed first"
    assert normal is not None
    assert low is not None
    assert "first token" in normal.message
    assert normal.retry_after_s > 0
    machine.run()
    assert machine.scheduler.admission.refusals(machine.now_s) == ()
