"""Tuning from a configuration to a choice, on invented machines: open options, time limits, failures, disturbances."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, ModelError, UnsupportedError
from llmcore.model import Model
from llmcore.startup.trial_result import Candidate, Figures, TrialResult
from llmcore.threads import decide_threads
from llmcore.tuned_profile import threads_allowed
from llmcore.tuning.grid import COUNTS, FINAL_ROUNDS_MIN, Space, TuningChoice, grid
from llmcore.tuning.runner import Tuning, plan
from llmcore.tuning.trial import TrialJob
from llmcore.tuning.trial_process import TrialFailed
from tests.tuning.candidates import DEFAULT, changed, figures

ATTENTION = ((False, "f16", "f16"), (False, "q8_0", "f16"), (True, "f16", "f16"), (True, "q8_0", "q8_0"))
SPACE = Space(default=DEFAULT, n_threads_max=16, n_batch_max=2048, attention=ATTENTION)

# Seconds that a trial takes, and its figures.
Machine = Callable[[Candidate], tuple[float, Figures]]


class Bench:
    """Measures on an invented machine and clock. `default`: the settings that serving decides, None if it cannot."""

    def __init__(self, machine: Machine, default: Candidate | None = DEFAULT) -> None:
        self.now_s = 0.0
        self.bounds: list[tuple[float, float]] = []
        self._machine = machine
        self._default = default

    def clock(self) -> float:
        return self.now_s

    def default(self, timeout_s: float) -> Candidate:
        if self._default is None:
            raise TrialFailed("cannot be decided")
        return self._default

    def measure(self, candidate: Candidate, *, load_s: float, timeout_s: float) -> Figures:
        self.bounds.append((load_s, timeout_s))
        seconds, found = self._machine(candidate)
        self.now_s += min(seconds, timeout_s)
        if seconds > timeout_s:
            raise TrialFailed("took too long")
        return found


def tuned(machine: Machine, limit_s: float = 1000.0, *, space: Space = SPACE) -> Tuning:
    """A tuning after its end."""
    bench = Bench(machine, space.default)
    tuning = Tuning(space, bench, limit_s, lambda label, result: None, bench.clock)
    tuning.run()
    assert bench.now_s <= limit_s
    return tuning


def chosen(machine: Machine, limit_s: float = 1000.0) -> Candidate:
    tuning = tuned(machine, limit_s)
    assert tuning.choice is not None
    return tuning.choice.candidate


def stage(tuning: Tuning, name: str) -> list[Candidate]:
    return [each.candidate for each in tuning.results if each.stage == name]


# --- The plan ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def vocabulary(tiny_model: Path) -> Iterator[Model]:
    with Model(tiny_model, vocab_only=True) as opened:
        yield opened


def planned(model: Model, **options: Any) -> tuple[Space, TrialJob]:
    return plan(EngineConfig(model_path=model.path, **options), model)


def test_everything_is_open_by_default(vocabulary: Model) -> None:
    space, job = planned(vocabulary)
    n = decide_threads().n_threads
    assert space.default == changed(threads=n, threads_batch=n)
    assert space.open_counts == set(COUNTS)
    assert len(space.attention) > 3
    assert space.n_threads_max == threads_allowed(decide_threads())
    assert (job.n_ctx, space.n_batch_max) == (2048, 2048), "as the model was trained"
    assert job.n_slots == 49, "as serving has them"


def test_options_that_are_given_are_not_open(vocabulary: Model) -> None:
    options = {"threads": 1, "n_batch": 64, "n_ubatch": 32, "blas": "on", "flash_attn": "on", "n_ctx": 512}
    space, job = planned(vocabulary, **options, cache_type_k="f16", cache_type_v="f16", repack=False)
    assert not space.open_counts
    assert space.attention == ((True, "f16", "f16"),)
    assert (space.default.n_batch, space.default.n_ubatch) == (64, 32)
    assert (job.n_ctx, job.config.repack, job.config.blas) == (512, False, "on")
    assert grid(space) == [space.default]
    space, _ = planned(vocabulary, threads_batch=2)
    assert space.open_counts == set(COUNTS) - {"threads_batch"}


def test_models_that_cannot_be_tuned_are_refused(tiny_bert: Path, vocabulary: Model) -> None:
    with Model(tiny_bert, vocab_only=True) as model, pytest.raises(UnsupportedError, match="nothing to tune"):
        planned(model)
    with pytest.raises(ConfigError, match="cache_type_v=q8_0"):
        planned(vocabulary, flash_attn="off", cache_type_v="q8_0")


# --- The choice -------------------------------------------------------------------------------------------------------


def test_if_all_are_alike_the_default_stays_without_finals() -> None:
    tuning = tuned(lambda _: (1.0, figures(1.0)))
    assert tuning.choice == TuningChoice(DEFAULT, 0.0, 0)
    assert tuning.is_complete
    members = grid(SPACE)
    assert stage(tuning, "grid") == members + members[::-1], "forth and back"
    assert not stage(tuning, "finals")


def test_the_best_of_each_part_is_combined() -> None:
    def machine(each: Candidate) -> tuple[float, Figures]:
        attention = 0.7 if each.flash_attn and each.cache_type_k == "q8_0" else 1.0
        prompt_s = (1 + abs(each.threads_batch - 16) / 16) * (0.9 if each.n_ubatch == 256 else 1.0)
        return 1.0, figures(10 * (1 + abs(each.threads - 6) / 6) * attention, prompt_s)

    best = changed(threads=6, threads_batch=16, flash_attn=True, cache_type_k="q8_0", cache_type_v="q8_0", n_ubatch=256)
    assert chosen(machine) == best


@pytest.mark.parametrize(("factor", "expected"), [(0.96, False), (0.94, True)])
def test_the_default_goes_only_for_a_stated_gain(factor: float, expected: bool) -> None:
    tuning = tuned(lambda each: (1.0, figures(factor if each.flash_attn else 1.0)))
    assert tuning.choice is not None
    assert tuning.choice.candidate.flash_attn is expected
    finals = stage(tuning, "finals")
    n = len(set(finals))
    assert finals[0] == DEFAULT, "it always takes part"
    assert finals[:n] == finals[n : 2 * n][::-1], "forth and back"
    assert len(finals) == 4 * n <= 16
    assert len(tuning.results) <= tuning.n_trials_max


def test_a_machine_that_slows_down_favours_no_candidate() -> None:
    """Each trial takes 1 % longer than the one before."""
    n = itertools.count()
    assert chosen(lambda each: (1.0, figures((0.8 if each.n_ubatch == 256 else 1.0) * 1.01 ** next(n)))) == changed(
        n_ubatch=256
    )


@pytest.mark.parametrize(("waited", "threads"), [(0.5, 8), (0.1, 4)])
def test_a_disturbance_that_lasts_chooses_nothing(waited: float, threads: int) -> None:
    """All rounds are alike, and yet the default waited for a CPU: it might be as fast."""
    tuning = tuned(lambda each: (1.0, figures(1.0) if each.threads == 4 else figures(1.6, waited=waited)))
    assert tuning.choice is not None
    assert tuning.choice.candidate.threads == threads
    assert (tuning.choice.gain_missed > 0) == (threads == 8)


def test_threads_that_were_favoured_by_a_disturbance_are_measured_again() -> None:
    """While the grid is measured, half as many threads seem faster."""
    n = itertools.count()
    n_grid = 2 * len(grid(SPACE))

    def machine(each: Candidate) -> tuple[float, Figures]:
        is_disturbed = next(n) < n_grid
        seconds = (3.0 if is_disturbed else 1.0) if each.threads == 8 else 1.2
        return 1.0, figures(seconds * (0.5 if each.n_ubatch == 256 else 1.0))

    assert chosen(machine) == changed(n_ubatch=256)


def test_gains_are_over_the_default_that_serving_decides() -> None:
    decided = changed(flash_attn=True)
    bench = Bench(lambda each: (1.0, figures(0.5 if each.flash_attn else 1.0)), decided)
    tuning = Tuning(SPACE, bench, 1000.0, lambda label, result: None, bench.clock)
    tuning.run()
    assert tuning.default == tuning.results[0].candidate == decided
    assert tuning.choice == TuningChoice(decided, 0.0, 0)


# --- Failures and time ------------------------------------------------------------------------------------------------


def test_if_serving_cannot_decide_others_are_measured_all_the_same() -> None:
    bench = Bench(lambda each: (1.0, figures(0.5 if each.n_ubatch < 512 else 1.0)), None)
    told: list[tuple[str, TrialResult | None]] = []
    tuning = Tuning(SPACE, bench, 1000.0, lambda label, result: told.append((label, result)), bench.clock)
    tuning.run()
    assert tuning.results[0] == TrialResult(stage="default", candidate=DEFAULT, problem="cannot be decided")
    assert tuning.choice is not None
    assert tuning.choice.candidate.n_ubatch < 512
    assert [result for _, result in told if result is not None] == tuning.results[1:]
    assert len(told) == 2 * len(tuning.results[1:]), "told when each begins, and when it has ended"


def test_a_candidate_that_hangs_is_out_and_costs_a_bounded_time() -> None:
    bench = Bench(lambda each: (1e9 if each.flash_attn else 1.0, figures(0.5 if each.n_ubatch == 256 else 1.0)))
    tuning = Tuning(SPACE, bench, 1000.0, lambda label, result: None, bench.clock)
    tuning.run()
    assert tuning.choice is not None
    assert tuning.choice.candidate == changed(n_ubatch=256)
    problems = [each for each in tuning.results if each.problem]
    assert len(problems) == 2, "once for each"
    assert max(timeout_s for _, timeout_s in bench.bounds[1:]) <= 15.0


def test_if_only_the_default_fails_another_one_is_chosen() -> None:
    tuning = tuned(lambda each: (1e9 if each == DEFAULT else 1.0, figures(0.5 if each.flash_attn else 1.0)))
    assert tuning.choice is None, "its patience is the whole time"

    def fail(each: Candidate) -> tuple[float, Figures]:
        if each == DEFAULT:
            raise TrialFailed("too large")
        return 1.0, figures(0.5 if each.flash_attn else 1.0)

    tuning = tuned(fail)
    assert tuning.choice is not None
    assert tuning.choice.candidate.flash_attn
    assert tuning.choice.gain == 1.0


@pytest.mark.parametrize("limit_s", [0.5, 1.5, 4.0])
def test_too_little_time_decides_nothing(limit_s: float) -> None:
    tuning = tuned(lambda each: (1.0, figures(0.5 if each.flash_attn else 1.0)), limit_s)
    assert tuning.choice is None
    assert not tuning.is_complete


@settings(deadline=None)
@given(st.floats(12, 300), st.floats(0.5, 20))
def test_finals_have_their_share_of_the_time(limit_s: float, trial_s: float) -> None:
    """A candidate that looks better meets the default in at least FINAL_ROUNDS_MIN rounds, or there is no choice of it."""
    tuning = tuned(lambda each: (trial_s, figures(1 / each.threads)), limit_s)
    finals = stage(tuning, "finals")
    if {each.threads for each in stage(tuning, "grid")} > {8, 16}:
        assert tuning.choice is not None
        assert tuning.choice.candidate.threads == 16
        assert finals.count(DEFAULT) == finals.count(tuning.choice.candidate) == tuning.choice.n_rounds
    if tuning.choice is not None and tuning.choice.candidate != DEFAULT:
        assert tuning.choice.n_rounds >= FINAL_ROUNDS_MIN
    if not tuning.is_complete:
        assert limit_s < 2 * trial_s * (len(grid(SPACE)) + 8)


@settings(deadline=None)
@given(st.floats(20, 150))
def test_a_round_that_the_time_limit_cut_does_not_count(limit_s: float) -> None:
    """In the finals trials take twice as long as before: the time limit is no failure of a candidate."""
    n = itertools.count()
    n_grid = 2 * len(grid(SPACE))
    tuning = tuned(lambda each: (1.0 if next(n) < n_grid else 2.0, figures(0.5 if each.threads == 4 else 1.0)), limit_s)
    if tuning.choice is not None and tuning.choice.candidate != DEFAULT:
        good = [each.candidate for each in tuning.results if each.stage == "finals" and each.figures]
        assert FINAL_ROUNDS_MIN <= tuning.choice.n_rounds <= min(map(good.count, set(good)))


@pytest.mark.parametrize("error", [ModelError("no such model"), KeyboardInterrupt()])
def test_an_end_keeps_the_results_until_then(error: BaseException) -> None:
    n = itertools.count()

    def machine(candidate: Candidate) -> tuple[float, Figures]:
        if next(n) == 3:
            raise error
        return 1.0, figures(1.0)

    bench = Bench(machine)
    tuning = Tuning(SPACE, bench, 100.0, lambda label, result: None, bench.clock)
    with pytest.raises(type(error)):
        tuning.run()
    assert len(tuning.results) == 3
    assert tuning.choice is None
