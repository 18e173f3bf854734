"""The order of trials and the choice, on invented machines."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.search import GAIN_MIN, ROUNDS_MIN, Ask, Search, Space, Told, choose
from llmcore.trials import Candidate, Figures

DEFAULT = Candidate(
    threads=8,
    threads_batch=8,
    n_batch=512,
    n_ubatch=512,
    blas=False,
    flash_attn=False,
    cache_type_k="f16",
    cache_type_v="f16",
)
ATTENTION = ((False, "f16", "f16"), (False, "q8_0", "f16"), (True, "f16", "f16"), (True, "q8_0", "q8_0"))
SPACE = Space(default=DEFAULT, n_threads_max=16, n_batch_max=2048, attention=ATTENTION, blas=(False, True))

Machine = Callable[[Candidate], Figures | None]


def figures(decode_s: float, prompt_token_s: float | None = None, cold_token_s: float | None = None) -> Figures:
    prompt = decode_s / 4 if prompt_token_s is None else prompt_token_s
    return Figures(
        n_cells=2048,
        decode_s=decode_s,
        n_rows=8,
        rows_s=2 * decode_s,
        prompt_token_s=prompt,
        cold_token_s=prompt if cold_token_s is None else cold_token_s,
    )


def drive(found: Search, limit_s: float, tell: Callable[[Ask, float], tuple[Figures | None, float]]) -> list[Ask]:
    """To its end, by figures and the seconds that they took, which may depend on the seconds left. What it asked for."""
    asked, left_s = [], limit_s
    asking = found.run()
    with contextlib.suppress(StopIteration):
        ask = next(asking)
        while True:
            asked.append(ask)
            told, spent_s = tell(ask, left_s)
            left_s -= spent_s
            ask = asking.send(Told(told, spent_s, left_s))
    return asked


def search(
    space: Space, machine: Machine, *, limit_s: float = math.inf, trial_s: float = 1.0
) -> tuple[Search, list[Ask]]:
    """The search after its end, and what it asked for."""

    def tell(ask: Ask, left_s: float) -> tuple[Figures | None, float]:
        told = machine(ask.candidate)
        if told is not None and not ask.is_full:
            told = msgspec.structs.replace(told, cold_token_s=None)
        return told, trial_s

    found = Search(space)
    return found, drive(found, limit_s, tell)


def chosen(space: Space, machine: Machine) -> Candidate:
    found, _ = search(space, machine)
    assert found.choice is not None
    return found.choice.candidate


def changed(**changes: object) -> Candidate:
    return msgspec.structs.replace(DEFAULT, **changes)


def test_where_all_are_alike_the_default_stays() -> None:
    found, asked = search(SPACE, lambda _: figures(1.0))
    assert found.choice is not None
    assert found.choice.candidate == DEFAULT
    assert found.choice.gain == 0.0
    assert found.is_complete
    assert asked[0] == Ask("default", DEFAULT, True)
    assert {ask.stage for ask in asked} == {"default", "threads", "attention", "blas", "batch", "fine"}


def test_each_dimension_is_found() -> None:
    best = changed(threads=5, threads_batch=16, flash_attn=True, cache_type_k="q8_0", cache_type_v="q8_0", n_ubatch=256)

    def machine(candidate: Candidate) -> Figures:
        attention = (candidate.flash_attn, candidate.cache_type_k) == (True, "q8_0")
        prompt_s = (1 + abs(candidate.threads_batch - 16) / 16) * (0.9 if candidate.n_ubatch == 256 else 1.0)
        decode_s = 10 * (1 + abs(candidate.threads - 5) / 5) * (0.7 if attention else 1.0)
        return figures(decode_s, prompt_s * (2.0 if candidate.blas else 1.0))

    assert chosen(SPACE, machine) == best


def test_blas_is_found() -> None:
    assert chosen(SPACE, lambda each: figures(1.0, 0.1 if each.blas else 1.0)) == changed(blas=True)


@pytest.mark.parametrize(("factor", "expected"), [(0.96, False), (0.94, True)])
def test_the_default_goes_only_for_a_stated_gain(factor: float, expected: bool) -> None:
    machine = lambda each: figures(factor if each.blas else 1.0)  # noqa: E731
    found, asked = search(SPACE, machine)
    assert found.choice is not None
    assert found.choice.candidate.blas is expected
    finals = [ask for ask in asked if ask.stage == "finals"]
    n = len({ask.candidate for ask in finals})
    assert finals[0].candidate == DEFAULT, "it always takes part"
    assert finals[:n] == finals[n : 2 * n][::-1], "forth and back"


def test_a_machine_that_slows_down_favours_nobody() -> None:
    """Each trial takes 1 % longer than the one before: what is tried late looks bad, and the finals must not."""
    n = 0

    def machine(candidate: Candidate) -> Figures:
        nonlocal n
        n += 1
        return figures((0.8 if candidate.n_ubatch == 256 else 1.0) * 1.01**n)

    assert chosen(SPACE, machine) == changed(n_ubatch=256)


def test_nothing_that_is_not_open_is_tried() -> None:
    closed = Space(
        default=changed(threads=3, threads_batch=4),
        n_threads_max=16,
        attention=((False, "f16", "f16"),),
        is_threads_open=False,
        is_threads_batch_open=False,
        is_batch_open=False,
        is_ubatch_open=False,
    )
    found, asked = search(closed, lambda _: figures(1.0))
    assert [ask.candidate for ask in asked] == [closed.default]
    assert found.choice is not None


def test_a_failure_is_not_chosen_and_does_not_end_the_search() -> None:
    def machine(candidate: Candidate) -> Figures | None:
        return None if candidate.flash_attn or candidate == DEFAULT else figures(0.5 if candidate.blas else 1.0)

    best = chosen(SPACE, machine)
    assert best.blas
    assert not best.flash_attn
    nothing, _ = search(SPACE, lambda _: None)
    assert nothing.choice is None


@pytest.mark.parametrize("limit_s", [0.5, 1.5, 4.0])
def test_too_little_time_decides_nothing(limit_s: float) -> None:
    found, _ = search(SPACE, lambda each: figures(0.5 if each.blas else 1.0), limit_s=limit_s)
    assert found.choice is None
    assert not found.is_complete


@settings(deadline=None)
@given(st.floats(1, 60))
def test_the_time_limit_is_kept_and_a_choice_has_had_its_finals(limit_s: float) -> None:
    found, asked = search(SPACE, lambda each: figures(1 / each.threads), limit_s=limit_s)
    assert len(asked) <= limit_s + 1, "a trial takes one second"
    if found.choice is not None and found.choice.candidate != DEFAULT:
        assert found.choice.n_rounds >= ROUNDS_MIN


spaces = st.builds(
    Space,
    default=st.builds(
        changed,
        threads=st.integers(1, 64),
        threads_batch=st.integers(1, 64),
        n_batch=st.sampled_from([64, 512, 2048]),
        n_ubatch=st.sampled_from([32, 64]),
    ),
    n_threads_max=st.integers(1, 128),
    n_batch_max=st.sampled_from([256, 1024, 8192]),
    attention=st.sampled_from([(), ATTENTION[:1], ATTENTION]),
    blas=st.sampled_from([(), (False, True)]),
    is_threads_open=st.booleans(),
    is_threads_batch_open=st.booleans(),
    is_batch_open=st.booleans(),
    is_ubatch_open=st.booleans(),
)


@settings(deadline=None)
@given(spaces, st.randoms(use_true_random=False))
def test_on_any_machine_the_choice_is_sound(space: Space, random: object) -> None:
    """Costs are drawn for each candidate: the choice was measured, is never worse than the default, and within the space."""
    costs: dict[Candidate, float | None] = {}
    draw = getattr(random, "uniform", None)
    assert draw is not None

    def machine(candidate: Candidate) -> Figures | None:
        cost = costs.setdefault(candidate, None if draw(0, 1) < 0.1 else draw(0.5, 2.0))
        return None if cost is None else figures(cost)

    found, asked = search(space, machine)
    assert len(asked) <= 80
    for ask in asked:
        candidate = ask.candidate
        assert candidate.n_ubatch <= candidate.n_batch <= max(space.n_batch_max, space.default.n_batch)
        threads = {candidate.threads, candidate.threads_batch}
        assert threads <= {*range(1, space.n_threads_max + 1), space.default.threads, space.default.threads_batch}
        assert space.is_threads_open or candidate.threads == space.default.threads
        assert space.is_batch_open or candidate.n_batch == space.default.n_batch
    if found.choice is None:
        assert not any(costs.values())
        return
    cost, default_cost = costs[found.choice.candidate], costs[space.default]
    assert cost is not None
    if default_cost is not None and found.choice.candidate != space.default:
        assert cost <= default_cost * (1 - GAIN_MIN) * (1 + 1e-9)


ROUNDS = st.lists(st.floats(0.1, 10), min_size=3, max_size=3)


@settings(deadline=None)
@given(ROUNDS, st.dictionaries(st.sampled_from([2, 4]), ROUNDS, min_size=1))
def test_the_choice_compares_medians_and_exceeds_the_noise(
    default: list[float], by_threads: dict[int, list[float]]
) -> None:
    scores = {changed(threads=n): seconds for n, seconds in by_threads.items()}
    scores[DEFAULT] = default
    choice = choose(DEFAULT, scores)
    assert choice is not None
    medians = {each: sorted(seconds)[1] for each, seconds in scores.items()}
    least, base = min(medians.values()), medians[DEFAULT]
    is_gain, is_proven = least <= base * (1 - GAIN_MIN), least <= min(default)
    assert (choice.candidate != DEFAULT) == (is_gain and is_proven)
    assert (choice.gain_missed > 0) == (is_gain and not is_proven)
    if choice.candidate != DEFAULT:
        assert medians[choice.candidate] <= min(least * 1.02, default[0], default[1], default[2])
        assert choice.gain == pytest.approx(1 - medians[choice.candidate] / base)
    elif choice.gain_missed:
        assert choice.gain_missed <= choice.noise
        assert choice.gain == 0.0


def test_a_disturbance_that_hits_one_candidate_more_chooses_nothing() -> None:
    """Beside another process two threads wait for each other, and one does not."""
    one = changed(threads=1)
    choice = choose(DEFAULT, {DEFAULT: [2.0, 2.1, 1.0, 2.0], one: [1.3, 1.3, 1.3, 1.3]})
    assert choice is not None
    assert choice.candidate == DEFAULT
    assert (choice.gain_missed, choice.noise) == pytest.approx((0.35, 0.5))
    choice = choose(DEFAULT, {DEFAULT: [1.6, 1.6, 9.0, 1.5], one: [1.3, 1.3, 9.0, 1.3]})
    assert choice is not None
    assert choice.candidate == one, "what hits all hides nothing"


def test_a_disturbance_that_lasts_chooses_nothing() -> None:
    """All rounds are alike, and yet the default waited for a CPU: it might be as fast."""

    def machine(candidate: Candidate) -> Figures:
        if candidate.threads == 2:
            return figures(1.0)
        return msgspec.structs.replace(figures(1.6), waited=waited)

    space = Space(default=DEFAULT, n_threads_max=8)
    waited = 0.5
    found, _ = search(space, machine)
    assert found.choice is not None
    assert found.choice.candidate == DEFAULT
    assert found.choice.noise == pytest.approx(0.5)
    waited = 0.1
    assert chosen(space, machine).threads == 2


def test_threads_that_were_chosen_in_a_disturbance_are_looked_at_again() -> None:
    """While threads were tried, half as many seemed faster; what was tried later, was with these."""
    n = 0

    def machine(candidate: Candidate) -> Figures:
        nonlocal n
        n += 1
        is_disturbed = n < 8
        seconds = (3.0 if is_disturbed else 1.0) if candidate.threads == 8 else 1.2
        return figures(seconds * (0.5 if candidate.n_ubatch == 256 else 1.0))

    assert chosen(SPACE, machine) == changed(n_ubatch=256)


@settings(deadline=None)
@given(st.floats(30, 300), st.floats(0.5, 20))
def test_finals_have_their_share_of_the_time(limit_s: float, trial_s: float) -> None:
    """Whoever looks better than the default meets it in as many rounds as a third of the time allows, and never too few."""
    found, asked = search(SPACE, lambda each: figures(1 / each.threads), limit_s=limit_s, trial_s=trial_s)
    finals = [ask.candidate for ask in asked if ask.stage == "finals"]
    others = {ask.candidate for ask in asked if ask.stage != "finals"} - {DEFAULT}
    if any(each.threads > 8 for each in others):
        assert found.choice is not None
        assert finals.count(DEFAULT) >= ROUNDS_MIN
        assert finals.count(DEFAULT) == finals.count(found.choice.candidate)


def test_a_trial_that_was_disturbed_leaves_time_for_others() -> None:
    """One trial takes half of the time, by no fault of its own: the others are still tried, and the finals held."""
    search_, n = Search(SPACE), itertools.count(1)

    def tell(ask: Ask, left_s: float) -> tuple[Figures, float]:
        return figures(0.5 if ask.candidate.n_ubatch == 256 else 1.0), 45.0 if next(n) == 8 else 1.0

    drive(search_, 90.0, tell)
    assert search_.choice is not None
    assert search_.choice.candidate == changed(n_ubatch=256)


@settings(deadline=None)
@given(st.floats(20, 80))
def test_a_round_that_the_end_of_time_cut_does_not_count(limit_s: float) -> None:
    """In the finals trials take twice as long as before: what was not measured for that is nobody's failure."""
    search_, measured = Search(SPACE), dict.fromkeys([DEFAULT], 0)

    def tell(ask: Ask, left_s: float) -> tuple[Figures | None, float]:
        spent_s = 2.0 if ask.stage == "finals" else 1.0
        is_cut = left_s < spent_s
        if ask.stage == "finals":
            measured[ask.candidate] = measured.get(ask.candidate, 0) + (not is_cut)
        return None if is_cut else figures(0.5 if ask.candidate.threads == 4 else 1.0), spent_s

    drive(search_, limit_s, tell)
    if search_.choice is not None and search_.choice.candidate != DEFAULT:
        assert ROUNDS_MIN <= search_.choice.n_rounds <= min(measured.values())


def test_a_failure_that_took_long_leaves_time_for_others() -> None:
    """A candidate that took its patience is in no final: what is kept for those is not reckoned by it."""
    search_ = Search(SPACE)

    def tell(ask: Ask, left_s: float) -> tuple[Figures | None, float]:
        if ask.candidate.flash_attn:
            return None, 15.0
        return figures(0.5 if ask.candidate.blas else 1.0), 1.0

    drive(search_, 90.0, tell)
    assert search_.choice is not None
    assert search_.choice.candidate == changed(blas=True)
