"""Tuning from a configuration to a choice: what is open, time limits, candidates that fail. Nothing native is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore.config import EngineConfig
from llmcore.errors import ModelError, UnsupportedError
from llmcore.model import Model
from llmcore.search import Ask, Choice, Space
from llmcore.threads import decide_threads
from llmcore.trial_child import TrialFailed
from llmcore.trials import Candidate, Figures, Job, Trial
from llmcore.tuned_profile import threads_allowed
from llmcore.tuning import Tuning, plan


@pytest.fixture(scope="module")
def vocabulary(tiny_model: Path) -> Iterator[Model]:
    with Model(tiny_model, vocab_only=True) as opened:
        yield opened


def planned(model: Model, **options: Any) -> tuple[Space, Job]:
    return plan(EngineConfig(model_path=model.path, **options), model)


class Bench:
    """Takes seconds of an invented clock for each trial, and notes what it was asked."""

    def __init__(self, seconds: Callable[[Candidate], float], default: Candidate | None = None) -> None:
        """`default`: as serving decides; None where it cannot."""
        self.now_s = 0.0
        self._default = default
        self.bounds: list[tuple[float, float]] = []
        self._seconds = seconds

    def clock(self) -> float:
        return self.now_s

    def default(self, *, load_s: float, timeout_s: float) -> Candidate:
        if self._default is None:
            raise TrialFailed("cannot be decided")
        return self._default

    def measure(self, candidate: Candidate, *, is_full: bool, load_s: float, timeout_s: float) -> Figures:
        self.bounds.append((load_s, timeout_s))
        seconds = self._seconds(candidate)
        self.now_s += min(seconds, timeout_s)
        if seconds > timeout_s:
            raise TrialFailed("took too long")
        cold = seconds if is_full else None
        return Figures(n_cells=1, decode_s=seconds, n_rows=1, rows_s=1.0, prompt_token_s=seconds, cold_token_s=cold)


def tuning(space: Space, bench: Bench, limit_s: float, told: list[Trial | None] | None = None) -> Tuning:
    def tell(ask: Ask, trial: Trial | None) -> None:
        if told is not None:
            told.append(trial)

    return Tuning(space, bench, limit_s, tell, bench.clock)


def test_everything_is_open_by_default(vocabulary: Model) -> None:
    space, job = planned(vocabulary)
    n = decide_threads().n_threads
    assert space.default == Candidate(
        threads=n,
        threads_batch=n,
        n_batch=512,
        n_ubatch=512,
        blas=False,
        flash_attn=False,
        cache_type_k="f16",
        cache_type_v="f16",
    )
    assert space.is_threads_open
    assert space.is_batch_open
    assert space.blas == (False, True)
    assert len(space.attention) > 3
    assert space.n_threads_max == threads_allowed(decide_threads())
    assert (job.n_ctx, space.n_batch_max) == (2048, 2048), "as the model was trained"
    assert job.n_slots == 49, "as serving has them"


def test_what_was_given_is_not_open(vocabulary: Model) -> None:
    options = {"threads": 1, "n_batch": 64, "n_ubatch": 32, "blas": "on", "flash_attn": "on", "n_ctx": 512}
    space, job = planned(vocabulary, **options, cache_type_k="f16", cache_type_v="f16", repack=False)
    are_open = (space.is_threads_open, space.is_threads_batch_open, space.is_batch_open, space.is_ubatch_open)
    assert not any(are_open)
    assert space.blas == ()
    assert space.attention == ((True, "f16", "f16"),)
    assert (space.default.n_batch, space.default.n_ubatch, space.default.blas) == (64, 32, True)
    assert (job.n_ctx, job.config.repack, job.blas) == (512, False, True)
    space, _ = planned(vocabulary, threads_batch=2)
    assert space.is_threads_open
    assert not space.is_threads_batch_open


def test_a_model_that_generates_nothing_is_refused(tiny_bert: Path) -> None:
    with Model(tiny_bert, vocab_only=True) as model, pytest.raises(UnsupportedError, match="nothing to tune"):
        planned(model)


def test_a_tuning_ends_with_a_choice(vocabulary: Model) -> None:
    space, _ = planned(vocabulary)
    bench = Bench(lambda each: 0.5 if each.flash_attn else 1.0, space.default)
    told: list[Trial | None] = []
    run = tuning(space, bench, 1000.0, told)
    run.run()
    assert run.choice is not None
    assert run.choice.candidate.flash_attn
    assert run.choice.gain == pytest.approx(0.5)
    assert run.is_complete
    assert [each for each in told if each is not None] == run.trials
    assert len(told) == 2 * len(run.trials), "told when each begins, and when it has ended"
    assert len(run.trials) <= run.n_expected


def test_gains_are_over_what_serving_decides(vocabulary: Model) -> None:
    """Flash attention is faster, and serving knows that: then it is no gain of the tuning."""
    space, _ = planned(vocabulary)
    decided = msgspec.structs.replace(space.default, flash_attn=True)
    run = tuning(space, Bench(lambda each: 0.5 if each.flash_attn else 1.0, decided), 1000.0)
    run.run()
    assert run.default == decided
    assert run.trials[0].candidate == decided
    assert run.choice == Choice(decided, 0.0, 0)


def test_where_serving_cannot_decide_others_are_measured_all_the_same(vocabulary: Model) -> None:
    space, _ = planned(vocabulary)
    run = tuning(space, Bench(lambda each: 0.5 if each.n_ubatch < 512 else 1.0), 1000.0)
    run.run()
    assert run.default == space.default
    assert run.trials[0] == Trial(stage="default", candidate=space.default, problem="cannot be decided")
    assert run.choice is not None
    assert run.choice.candidate.n_ubatch < 512


def test_the_time_limit_bounds_every_trial(vocabulary: Model) -> None:
    bench = Bench(lambda each: 7.0)
    run = tuning(planned(vocabulary)[0], bench, 20.0)
    run.run()
    assert bench.now_s <= 20.0
    assert run.choice is None
    assert not run.is_complete
    assert all(timeout_s <= load_s <= 20.0 for load_s, timeout_s in bench.bounds)


def test_a_candidate_that_takes_for_ever_costs_a_bounded_time(vocabulary: Model) -> None:
    space, _ = planned(vocabulary)
    bench = Bench(lambda each: 1e9 if each.flash_attn else 1.0, space.default)
    run = tuning(space, bench, 10_000.0)
    run.run()
    assert run.choice is not None
    assert not run.choice.candidate.flash_attn
    problems = [trial for trial in run.trials if trial.problem]
    assert problems
    assert all(trial.candidate.flash_attn and trial.figures is None for trial in problems)
    assert max(timeout_s for _, timeout_s in bench.bounds[1:]) <= 15.0


def test_a_model_that_cannot_be_loaded_ends_it(vocabulary: Model) -> None:
    def fail(candidate: Candidate) -> float:
        raise ModelError("no such model")

    run = tuning(planned(vocabulary)[0], Bench(fail), 100.0)
    with pytest.raises(ModelError):
        run.run()
    assert run.choice is None


def test_what_was_measured_stays_after_an_interruption(vocabulary: Model) -> None:
    n = 0

    def interrupt(candidate: Candidate) -> float:
        nonlocal n
        n += 1
        if n > 3:
            raise KeyboardInterrupt
        return 1.0

    space, _ = planned(vocabulary)
    run = tuning(space, Bench(interrupt, space.default), 100.0)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert len(run.trials) == 3
    assert run.choice is None
