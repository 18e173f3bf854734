"""How much of a step each prompt gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.scheduling.cost_model import CostModel, Measurement
from llmcore.scheduling.turns import HANDICAP_S, Turn, Turns, delay_s
from llmcore.sequence import LOW, NORMAL, Sequence

# A thousand tokens a second.
COSTS = CostModel([Measurement(n, 0, 0, n / 1000) for n in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)])
N_BATCH = 1024


def turn(name: str, n: int, arrived_s: float = 0.0, *, n_done: int = 0, lost_s: float = 0.0) -> Turn:
    """A prompt of n tokens in a slot."""
    sequence = Sequence(name, [1] * n, n, n + 1, arrived_s, slot=0, n_computed=n_done, overtaken_s=lost_s)
    return Turn.of(sequence, COSTS, N_BATCH)


def names(turns: Turns) -> list[str]:
    return [each.sequence.request_id for each in turns.order]


def test_the_soonest_done_goes_first_and_equals_in_the_order_in_which_they_came() -> None:
    assert names(Turns([turn("long", 5000), turn("b", 100, 2.0), turn("a", 100, 1.0)])) == ["a", "b", "long"]
    assert names(Turns([turn("long", 5000, n_done=4950), turn("short", 100, 9.0)])) == ["long", "short"]


def test_waiting_never_puts_a_long_prompt_before_a_short_one_of_its_priority() -> None:
    assert names(Turns([turn("long", 5000, 0.0, n_done=2600), turn("short", 100, 1000.0)])) == ["short", "long"]


def test_a_prompt_may_lose_time_in_advance_and_more_as_it_goes_on() -> None:
    assert turn("a", 6000).allowance_s == pytest.approx(0.6, rel=0.02)
    assert turn("a", 6000, n_done=3000).allowance_s == pytest.approx(1.1, rel=0.02)
    assert turn("a", 6000, n_done=3000, lost_s=1.0).allowance_s == pytest.approx(0.1, abs=0.03)
    assert turn("a", 6000, lost_s=9.0).allowance_s == 0.0


def test_newcomers_get_all_of_a_step_or_a_seventh_of_it() -> None:
    fresh, tired = turn("long", 20_000), turn("long", 20_000, lost_s=2.0)
    newcomer = turn("short", 100, 1.0)
    assert Turns([fresh, newcomer], 1.0).limit_s(newcomer) == pytest.approx(1.0, abs=0.01)
    assert Turns([tired, newcomer], 1.0).limit_s(newcomer) == pytest.approx(1 / 7, abs=0.01)
    assert Turns([tired, newcomer], 1.0).limit_s(tired) == float("inf")


def test_an_overtaken_prompt_is_owed_its_share_of_the_step() -> None:
    tired, newcomer = turn("long", 20_000, lost_s=2.0), turn("short", 100, 1.0)
    turns = Turns([tired, newcomer], 1.0)
    turns.take(newcomer, 0.1)
    assert tired.owed_s == pytest.approx(0.6, abs=0.05)
    turns.take(tired, tired.owed_s)
    assert turns.overtaken == [tired]
    tired.charge()
    assert tired.sequence.overtaken_s <= 2.0 + 0.1 + 1e-9
    assert turn("long", 20_000, n_done=600, lost_s=tired.sequence.overtaken_s).allowance_s == pytest.approx(0, abs=0.02)


def test_a_long_prompt_behind_a_longer_one_does_not_hold_up_newcomers_as_well() -> None:
    eldest, second = turn("eldest", 20_000, lost_s=2.0), turn("second", 30_000, 1.0, lost_s=3.0)
    newcomer = turn("short", 100, 2.0)
    turns = Turns([eldest, second, newcomer], 1.0)
    assert turns.limit_s(newcomer) == pytest.approx(1 / 7, abs=0.01), "and not a seventh of that"


def test_a_lower_priority_is_overtaken_without_being_owed_until_its_handicap_has_passed() -> None:
    assert HANDICAP_S[LOW] - HANDICAP_S[NORMAL] == 50.0
    sequence = turn("low", 20_000).sequence
    sequence.priority = LOW
    for arrived_s, lost_s in ((49.0, 0.0), (51.0, 0.1)):
        low, newcomer = Turn.of(sequence, COSTS, N_BATCH), turn("newcomer", 100, arrived_s)
        turns = Turns([low, newcomer], 1.0)
        assert names(turns) == ["newcomer", "low"]
        turns.take(newcomer, 0.1)
        assert low.lost_s == lost_s


def test_a_leader_takes_over_the_urgency_of_its_follower_but_not_its_length() -> None:
    leader, follower = turn("leader", 5000, 10.0), turn("follower", 20, 5.0)
    leader.lend(follower)
    assert leader.due_s == follower.due_s
    assert leader.key > turn("short", 100, 20.0).key


def test_the_delay_by_prompts_that_are_overtaken() -> None:
    fresh, tired = turn("long", 6000), turn("long", 6000, lost_s=0.6)
    assert delay_s(0.1, []) == 0.0
    assert delay_s(0.1, [fresh]) == 0.0
    assert delay_s(0.1, [tired]) == pytest.approx(0.6, rel=0.05)
    assert delay_s(100.0, [tired]) == pytest.approx(6.0, rel=0.05), "no longer than it takes"


@given(
    st.lists(st.tuples(st.integers(1, 9000), st.floats(0, 50), st.floats(0, 3)), min_size=1, max_size=6),
    st.floats(0, 20),
    st.floats(0, 20),
)
def test_more_work_is_never_delayed_less(prompts: list[tuple[int, float, float]], one_s: float, two_s: float) -> None:
    turns = [turn("x", n, arrived_s, lost_s=lost_s) for n, arrived_s, lost_s in prompts]
    less, more = sorted((one_s, two_s))
    assert 0 <= delay_s(less, turns) <= delay_s(more, turns) + 1e-9
    assert delay_s(more, turns) <= sum(each.remaining_s for each in turns) + 1e-9
