"""Short prompts beside long ones, on the simulator: the short ones start soon, the long ones end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from llmcore.sequence import HIGH, LOW, NORMAL
from tests.scheduling.simulator import LIMITS, LONG, SHORT, TOKEN_S, Caller, Simulator, alone_s

STEP_MAX_S = LIMITS.step_max_s
SLOWDOWN = 1.3
QUARTER = int(STEP_MAX_S / 4 / TOKEN_S)  # tokens of a prompt that takes a quarter of a step

# Without shrinking: a failing example is some seconds of simulation.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)


def stream(n_tokens: int, every_s: float, until_s: float, *, n_answer: int = 1, priority: int = NORMAL) -> list[Caller]:
    return [Caller(i * every_s, n_tokens, n_answer, priority) for i in range(1, int(until_s / every_s))]


def waited_s(caller: Caller) -> float:
    assert caller.first_token_s is not None
    return caller.first_token_s


# --- Newcomers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_s", [0.1, 1.1, 3.1, 4.9, 5.1, 6.1, 7.1, 8.1, 9.1, 9.9])
def test_a_short_prompt_starts_at_once_whenever_it_comes_during_a_long_one(at_s: float) -> None:
    long, short = Caller(0.0, LONG), Caller(at_s, SHORT)
    Simulator.of([long, short]).run()
    assert waited_s(short) <= STEP_MAX_S + 0.15, "the step that is out, and its own"
    assert waited_s(long) <= 1.05 * alone_s(LONG)


@settings(max_examples=30, deadline=None, phases=PHASES)
@given(
    st.floats(0.0, 12.0),
    st.integers(1, QUARTER),
    st.lists(st.tuples(st.floats(0.0, 5.0), st.integers(600, 9000)), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_newcomer_starts_within_two_steps_beside_a_long_one_and_soon_beside_several(
    at_s: float, n_tokens: int, longs: list[tuple[float, int]], is_answering: bool
) -> None:
    callers = [Caller(each_s, n) for each_s, n in longs if n > 4 * n_tokens]
    if is_answering:
        callers.append(Caller(0.0, 20, n_answer=300))
    newcomer = Caller(at_s, n_tokens)
    Simulator.of([*callers, newcomer]).run()
    # While an answer is decoded, a step has 150 ms, part of which streams and the weights take.
    own_s = 2 * alone_s(n_tokens) if is_answering else 0.0
    # Each of several may be owed time by the next.
    assert waited_s(newcomer) <= (2 if len(longs) == 1 else 5) * STEP_MAX_S + own_s


def test_a_newcomer_that_comes_while_a_long_one_is_owed_time_gets_its_share() -> None:
    long, newcomer = Caller(0.0, LONG), Caller(6.0, SHORT // 2)
    crowd = [Caller(2.0, 600) for _ in range(4)]
    Simulator.of([long, *crowd, newcomer]).run()
    assert waited_s(newcomer) <= 2 * STEP_MAX_S


def test_several_newcomers_do_not_wait_for_each_others_whole_step() -> None:
    newcomers = [Caller(5.5, SHORT) for _ in range(4)]
    Simulator.of([Caller(0.0, LONG), *newcomers]).run()
    assert [round(waited_s(each), 6) for each in newcomers] == sorted(round(waited_s(each), 6) for each in newcomers)
    assert waited_s(newcomers[0]) <= STEP_MAX_S + 0.15
    assert waited_s(newcomers[-1]) <= STEP_MAX_S + 4 * 0.15


def test_equals_start_in_the_order_in_which_they_came() -> None:
    callers = [Caller(i / 100, 300) for i in range(20)]
    Simulator.of(callers).run()
    starts = [each.at_s + waited_s(each) for each in callers]
    assert starts == sorted(starts)


# --- Long ones --------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None, phases=PHASES)
@given(st.integers(2000, 8000), st.floats(0.05, 2.0), st.integers(8, 600))
def test_a_long_prompt_is_slowed_down_by_no_more_than_three_tenths(n_long: int, every_s: float, n_short: int) -> None:
    long = Caller(0.0, n_long)
    Simulator.of([long, *stream(min(n_short, n_long // 4), every_s, 14.0)]).run()
    assert waited_s(long) <= SLOWDOWN * alone_s(n_long) + STEP_MAX_S


@settings(max_examples=20, deadline=None, phases=PHASES)
@given(st.lists(st.tuples(st.floats(0.01, 14.0), st.integers(1, 1600)), max_size=60))
def test_no_pattern_of_newcomers_slows_it_down_by_more(newcomers: list[tuple[float, int]]) -> None:
    long = Caller(0.0, LONG)
    Simulator.of([long, *(Caller(at_s, n) for at_s, n in newcomers)]).run()
    assert waited_s(long) <= SLOWDOWN * alone_s(LONG) + STEP_MAX_S


def test_long_ones_under_a_stream_that_saturates_the_machine_end_one_after_the_other() -> None:
    longs = [Caller(i / 2, LONG) for i in range(3)]
    Simulator.of([*longs, *stream(SHORT, 0.1, 40.0)]).run()
    for n, long in enumerate(longs, start=1):
        assert waited_s(long) <= n * (SLOWDOWN * alone_s(LONG) + STEP_MAX_S)


@pytest.mark.parametrize("n_running", [1, 2])
def test_a_long_prompt_gets_a_slot_though_short_ones_never_stop_coming(n_running: int) -> None:
    long = Caller(3.0, LONG)
    short = stream(SHORT, 0.3, 60.0, n_answer=10)
    Simulator.of([long, *short], replace(LIMITS, n_running=n_running)).run()
    assert waited_s(long) <= 3 * alone_s(LONG)


def test_a_long_prompt_gets_its_cells_though_short_ones_never_stop_coming() -> None:
    long = Caller(3.0, 3000)
    short = stream(200, 1.0, 80.0, n_answer=60)
    Simulator.of([long, *short], replace(LIMITS, n_ctx=3100)).run()
    assert waited_s(long) <= 30.0 + 3 * alone_s(3000), "the others pass for half a minute"


def test_low_priority_waits_a_minute_and_then_gets_its_share() -> None:
    long = Caller(0.0, LONG, priority=LOW)
    Simulator.of([long, *stream(SHORT, 0.12, 80.0)]).run()
    assert 50.0 < waited_s(long) <= 50.0 + SLOWDOWN * alone_s(LONG) + 2 * STEP_MAX_S


def test_a_high_priority_starts_at_once_beside_a_crowd_of_normal_ones() -> None:
    voice = Caller(12.0, SHORT, priority=HIGH)
    Simulator.of([Caller(0.0, LONG), *stream(SHORT, 0.1, 14.0), voice]).run()
    assert waited_s(voice) <= 2 * STEP_MAX_S


# --- Shared beginnings ------------------------------------------------------------------------------------------------


def test_a_newcomer_does_not_wait_behind_a_long_shared_beginning() -> None:
    together = [Caller(0.0, LONG, shared=1, n_shared=LONG - 50) for _ in range(4)]
    newcomer = Caller(6.0, SHORT)
    Simulator.of([*together, newcomer]).run()
    assert waited_s(newcomer) <= STEP_MAX_S + 0.15
    assert all(waited_s(each) <= 1.1 * alone_s(LONG) for each in together), "it is computed once"


def test_a_voice_that_waits_for_a_beginning_brings_it_before_others() -> None:
    batch = Caller(0.0, LONG, priority=LOW, shared=1, n_shared=LONG - 50)
    voice = Caller(1.0, LONG, priority=HIGH, shared=1, n_shared=LONG - 50)
    other = Caller(1.5, LONG)
    Simulator.of([batch, voice, other]).run()
    assert waited_s(voice) <= 1.1 * alone_s(LONG)
    assert waited_s(other) >= waited_s(voice)


# --- All together ------------------------------------------------------------------------------------------------------

CALLERS = st.lists(
    st.builds(
        Caller,
        at_s=st.floats(0.0, 20.0),
        n_tokens=st.integers(60, 3000),
        n_answer=st.integers(1, 30),
        priority=st.sampled_from((HIGH, NORMAL, LOW)),
        shared=st.integers(1, 2),
        n_shared=st.sampled_from((0, 0, 50)),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=30, deadline=None, phases=PHASES)
@given(CALLERS, st.integers(1, 6), st.integers(3100, 20_000), st.booleans())
def test_each_caller_is_answered(callers: list[Caller], n_running: int, n_cells: int, is_streaming: bool) -> None:
    crowd = stream(SHORT, 0.2, 30.0, n_answer=3) if is_streaming else []
    for each in callers:
        each.first_token_s = each.end_s = None
    Simulator.of([*callers, *crowd], replace(LIMITS, n_running=n_running, n_ctx=n_cells)).run(20_000)
    assert all(each.end_s is not None for each in [*callers, *crowd])


# --- Admission --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_s", [0.1, 5.1, 9.1])
def test_a_newcomer_that_starts_at_once_is_not_refused_for_a_long_prompts_sake(at_s: float) -> None:
    long, short = Caller(0.0, LONG), Caller(at_s, SHORT)
    Simulator.of([long, short], replace(LIMITS, ttft_max_s=18.0)).run()
    assert not long.is_refused
    brief = replace(short, first_token_s=None)
    simulator = Simulator.of([Caller(0.0, LONG), brief], replace(LIMITS, ttft_max_s=18.0))
    while simulator.now_s < at_s:
        simulator.advance()
    assert simulator.predicted_s(brief) <= STEP_MAX_S


def test_a_newcomer_while_a_long_prompt_is_owed_time_has_the_wait_predicted() -> None:
    crowd = [Caller(2.0, 600) for _ in range(6)]
    newcomer = Caller(4.5, 600)
    simulator = Simulator.of([Caller(0.0, LONG), *crowd, newcomer], replace(LIMITS, ttft_max_s=1000.0))
    while simulator.now_s < newcomer.at_s:
        simulator.advance()
    predicted_s = simulator.predicted_s(newcomer)
    simulator.run()
    assert predicted_s == pytest.approx(waited_s(newcomer), rel=0.4)
    assert predicted_s > 3.0
