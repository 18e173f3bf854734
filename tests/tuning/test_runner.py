"""Tuning from a configuration to a choice, on invented machines: open options, time limits, failures, disturbances."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, ModelError, UnsupportedError
from llmcore.llama.kernels import attends
from llmcore.llama.model import Model
from llmcore.machine.threads import decide_threads
from llmcore.startup.attention_settings import AttentionSettings, candidates
from llmcore.startup.trial_result import Candidate, Figures, TrialResult
from llmcore.startup.tuned_profile import threads_allowed
from llmcore.tuning.grid import COUNTS, FINAL_ROUNDS_MIN, Space, TuningChoice, grid
from llmcore.tuning.runner import Tuning, TuningProgress, plan
from llmcore.tuning.trial_process import TrialFailed
from tests.tuning.candidates import DEFAULT, changed, figures

ATTENTION = tuple(
    AttentionSettings(*each)
    for each in ((False, "f16", "f16"), (False, "q8_0", "f16"), (True, "f16", "f16"), (True, "q8_0", "q8_0"))
)
SPACE = Space(default=DEFAULT, n_threads_max=16, n_batch_max=2048, attention=ATTENTION)
N_GRID = 2 * len(grid(SPACE))


class Bench:
    """Measures on an invented machine and clock. `machine` returns figures, or the seconds of a decode step; `trial_s` returns the
    seconds of a trial; `default` are the settings that serving decides, None if it cannot decide."""

    def __init__(
        self,
        machine: Callable[[Candidate], Figures | float],
        trial_s: Callable[[Candidate], float] = lambda _: 1.0,
        default: Candidate | None = DEFAULT,
    ) -> None:
        self.now_s = 0.0
        self.timeouts_s: list[float] = []
        self._machine = machine
        self._trial_s = trial_s
        self._default = default

    def clock(self) -> float:
        return self.now_s

    def default(self, timeout_s: float) -> Candidate:
        if self._default is None:
            raise TrialFailed("cannot be decided")
        return self._default

    def measure(self, candidate: Candidate, *, load_s: float, timeout_s: float) -> Figures:
        assert timeout_s <= load_s
        self.timeouts_s.append(timeout_s)
        seconds, found = self._trial_s(candidate), self._machine(candidate)
        self.now_s += min(seconds, timeout_s)
        if seconds > timeout_s:
            raise TrialFailed("took too long")
        return found if isinstance(found, Figures) else figures(found)


def tuned(bench: Bench, limit_s: float = 1000.0, progress: TuningProgress = lambda label, result: None) -> Tuning:
    """Runs a tuning. Returns it after its end."""
    tuning = Tuning(SPACE, bench, limit_s, progress, bench.clock)
    tuning.run()
    assert bench.now_s <= limit_s
    return tuning


def chosen(tuning: Tuning) -> Candidate:
    assert tuning.choice is not None
    return tuning.choice.candidate


def stage(tuning: Tuning, name: str) -> list[Candidate]:
    return [each.candidate for each in tuning.results if each.stage == name]


def test_options_that_are_not_given_are_open(tiny_model: Path, tiny_bert: Path) -> None:
    def planned(model: Model, **options: Any) -> Space:
        return plan(EngineConfig(model_path=model.path, **options), model)[0]

    with Model(tiny_model, vocab_only=True) as model:
        space, job = plan(EngineConfig(model_path=model.path), model)
        n = decide_threads().n_threads
        preferred = candidates(
            EngineConfig(), model.attention_shape, has_kernels=attends(model.attention_shape, "f16", "f16")
        )
        assert space.default == changed(threads=n, threads_batch=n, **preferred[0].words)
        assert space.open_counts == set(COUNTS)
        assert len(space.attention) > 3
        assert space.n_threads_max == threads_allowed(decide_threads())
        assert (job.n_ctx, space.n_batch_max, job.n_slots) == (2048, 2048, 49), "as serving has them"
        given = {"threads": 1, "n_batch": 64, "n_ubatch": 32, "flash_attn": "on", "n_ctx": 512}
        space = planned(model, **given, cache_type_k="f16", cache_type_v="f16")
        assert space.default == changed(threads=1, threads_batch=1, n_batch=64, n_ubatch=32, flash_attn=True)
        assert grid(space) == [space.default]
        assert planned(model, threads_batch=2).open_counts == set(COUNTS) - {"threads_batch"}
        with pytest.raises(ConfigError, match="cache_type_v=q8_0"):
            planned(model, flash_attn="off", cache_type_v="q8_0")
    with Model(tiny_bert, vocab_only=True) as model, pytest.raises(UnsupportedError, match="nothing to tune"):
        planned(model)


# --- The choice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("default", [DEFAULT, changed(flash_attn=True, threads=4)])
def test_if_all_are_alike_the_default_of_serving_stays_without_finals(default: Candidate) -> None:
    tuning = tuned(Bench(lambda _: 1.0, default=default))
    assert tuning.choice == TuningChoice(default, 0.0, 0)
    assert tuning.is_complete
    tried = [each.candidate for each in tuning.results]
    n = len(tried) // 2
    assert tried[0] == default
    assert tried[:n] == tried[n:][::-1], "forth and back"


def test_the_best_of_each_part_is_combined() -> None:
    def machine(each: Candidate) -> Figures:
        attention = 0.7 if each.flash_attn and each.cache_type_k == "q8_0" else 1.0
        prompt_s = (1 + abs(each.threads_batch - 16) / 16) * (0.9 if each.n_ubatch == 256 else 1.0)
        return figures(10 * (1 + abs(each.threads - 6) / 6) * attention, prompt_s)

    best = changed(threads=6, threads_batch=16, flash_attn=True, cache_type_k="q8_0", cache_type_v="q8_0", n_ubatch=256)
    assert chosen(tuned(Bench(machine))) == best


@pytest.mark.parametrize(("factor", "expected"), [(0.96, False), (0.94, True)])
def test_the_default_goes_only_for_a_stated_gain(factor: float, expected: bool) -> None:
    tuning = tuned(Bench(lambda each: factor if each.flash_attn else 1.0))
    assert chosen(tuning).flash_attn is expected
    finals = stage(tuning, "finals")
    n = len(set(finals))
    assert finals[0] == DEFAULT, "it always takes part"
    assert finals[:n] == finals[n : 2 * n][::-1], "forth and back"
    assert len(finals) == 4 * n <= 16
    assert len(tuning.results) <= tuning.n_trials_max


def test_a_machine_that_slows_down_favours_no_candidate() -> None:
    n = itertools.count()
    tuning = tuned(Bench(lambda each: (0.8 if each.n_ubatch == 256 else 1.0) * 1.01 ** next(n)))
    assert chosen(tuning) == changed(n_ubatch=256)


@pytest.mark.parametrize(("waited", "threads"), [(0.5, 8), (0.1, 4)])
def test_a_disturbance_that_lasts_chooses_nothing(waited: float, threads: int) -> None:
    """The default waited for a CPU in every round, so it might be as fast."""
    tuning = tuned(Bench(lambda each: 1.0 if each.threads == 4 else figures(1.6, waited=waited)))
    assert chosen(tuning).threads == threads
    assert tuning.choice is not None
    assert (tuning.choice.gain_missed > 0) == (threads == 8)


def test_threads_that_were_favoured_by_a_disturbance_are_measured_again() -> None:
    """Other numbers of threads seem faster only while the grid is measured."""
    n = itertools.count()

    def machine(each: Candidate) -> float:
        is_disturbed = next(n) < N_GRID
        seconds = (3.0 if is_disturbed else 1.0) if each.threads == 8 else 1.2
        return seconds * (0.5 if each.n_ubatch == 256 else 1.0)

    assert chosen(tuned(Bench(machine))) == changed(n_ubatch=256)


# --- Failures and time ------------------------------------------------------------------------------------------------


def test_if_serving_cannot_decide_others_are_measured_all_the_same() -> None:
    told: list[TrialResult | None] = []
    bench = Bench(lambda each: 0.5 if each.n_ubatch == 256 else 1.0, default=None)
    tuning = tuned(bench, progress=lambda label, result: told.append(result))
    assert tuning.results[0] == TrialResult(stage="default", candidate=DEFAULT, problem="cannot be decided")
    assert chosen(tuning) == changed(n_ubatch=256)
    assert told[1::2] == tuning.results[1:]
    assert not any(told[::2]), "told when each begins, and when it has ended"


def test_a_candidate_that_hangs_is_out_and_costs_a_bounded_time() -> None:
    bench = Bench(lambda each: 0.5 if each.n_ubatch == 256 else 1.0, lambda each: 1e9 if each.flash_attn else 1.0)
    tuning = tuned(bench)
    assert chosen(tuning) == changed(n_ubatch=256)
    assert len([each for each in tuning.results if each.problem]) == 2, "once for each"
    assert max(bench.timeouts_s[1:]) <= 15.0


def test_if_only_the_default_fails_another_one_is_chosen() -> None:
    def machine(each: Candidate) -> float:
        if each == DEFAULT:
            raise TrialFailed("too large")
        return 0.5 if each.flash_attn else 1.0

    tuning = tuned(Bench(machine))
    assert chosen(tuning).flash_attn
    assert tuning.choice is not None
    assert tuning.choice.gain == 1.0


@pytest.mark.parametrize("limit_s", [0.5, 1.5, 4.0])
def test_too_little_time_decides_nothing(limit_s: float) -> None:
    tuning = tuned(Bench(lambda each: 1 / each.threads), limit_s)
    assert tuning.choice is None
    assert not tuning.is_complete


@settings(deadline=None)
@given(st.floats(8, 80), st.sampled_from([1.0, 2.0, 3.0]))
def test_finals_have_their_share_of_the_time(limit_s: float, final_s: float) -> None:
    """A better candidate meets the default in at least FINAL_ROUNDS_MIN rounds if trials of the finals take as long as those of the
    grid. If they take longer, a round that the time limit cuts short is not a failure of a candidate."""
    labels = ["grid"]
    bench = Bench(lambda each: 1 / each.threads, lambda _: final_s if "finals" in labels[-1] else 1.0)
    tuning = tuned(bench, limit_s, lambda label, result: labels.append(label))
    if 16 not in {each.threads for each in stage(tuning, "grid")}:
        return
    if final_s == 1:
        assert chosen(tuning).threads == 16
    if tuning.choice is not None:
        good = [each.candidate for each in tuning.results if each.stage == "finals" and each.figures]
        assert FINAL_ROUNDS_MIN <= tuning.choice.n_rounds <= min(map(good.count, set(good)))


@pytest.mark.parametrize("error", [ModelError("no such model"), KeyboardInterrupt()])
def test_an_end_keeps_the_results_until_then(error: BaseException) -> None:
    n = itertools.count()

    def machine(candidate: Candidate) -> float:
        if next(n) == 3:
            raise error
        return 1.0

    bench = Bench(machine)
    tuning = Tuning(SPACE, bench, 100.0, lambda label, result: None, bench.clock)
    with pytest.raises(type(error)):
        tuning.run()
    assert len(tuning.results) == 3
    assert tuning.choice is None
