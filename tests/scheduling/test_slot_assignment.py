"""Which sequences run: slots, cells, and preemption by priority."""

from __future__ import annotations

from llmcore.sequence import HIGH, LOW
from tests.scheduling.machine import make, prompt, sequence


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
