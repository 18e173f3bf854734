"""Which prompts get how many tokens of a step."""

from __future__ import annotations

import pytest

from llmcore.limits import RowTile
from llmcore.scheduling.cost_model import CostModel
from llmcore.scheduling.turns import HANDICAP_S
from llmcore.sequence import HIGH, LOW, NORMAL
from tests.scheduling.machine import finish_order, make, prompt, sequence


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


def test_a_step_computes_a_bounded_number_of_places_logits() -> None:
    machine = make(n_logits=30)
    both = [sequence(name, prompt(i, 200)) for i, name in enumerate("ab")]
    both[0].logits_from, both[1].logits_from = 100, 0
    for each in both:
        machine.add(each)
    most = 0
    while any(each.n_generated == 0 for each in both):
        machine.step()
        n = sum(part.n for part in machine.scheduler.prompt_logits())
        assert n <= 30
        most = max(most, n)
    assert most == 30
