"""One tuning, from what is open to a profile: asks the search what to try, has it measured within a time limit, keeps all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Protocol

from llmcore import ffi
from llmcore.config import EngineConfig
from llmcore.decide import decide_batches, decide_n_ctx, decide_n_running, n_slots_cached
from llmcore.errors import UnsupportedError
from llmcore.model import Model
from llmcore.search import Ask, Choice, Search, Space, Told
from llmcore.threads import decide_threads
from llmcore.trial_child import TrialFailed
from llmcore.trials import Candidate, Figures, Job, Trial
from llmcore.tune import candidates
from llmcore.tuned_profile import threads_allowed

# A trial may take so many times what the longest good one took: whoever takes longer will not be the fastest.
_PATIENCE, _PATIENCE_MIN_S = 6.0, 15.0


class Measuring(Protocol):
    """See TrialChild."""

    def default(self, *, load_s: float, timeout_s: float) -> Candidate: ...

    def measure(self, candidate: Candidate, *, is_full: bool, load_s: float, timeout_s: float) -> Figures: ...


Clock = Callable[[], float]
# Told of each trial when it begins (None) and when it has ended.
Progress = Callable[[Ask, Trial | None], None]


def plan(config: EngineConfig, model: Model) -> tuple[Space, Job]:
    """What is open in a configuration, and the context that serving would have. `model` may be the vocabulary alone, so of the
    default, what serving measures is yet to be decided (Tuning does). Raises UnsupportedError for a model that cannot
    generate."""
    if not model.can_generate:
        raise UnsupportedError(f"{model.path} cannot generate text: there is nothing to tune", param="model")
    decision = decide_threads(config.threads)
    n_ctx = decide_n_ctx(config, model.header.number(f"{model.architecture}.context_length"))
    n_batch, n_ubatch = decide_batches(config)
    choices = candidates(config, model.attention_shape)
    attention = tuple((each.flash_attn, each.cache_type_k, each.cache_type_v) for each in choices)
    default = Candidate(
        threads=decision.n_threads,
        threads_batch=config.threads_batch or decision.n_threads,
        n_batch=n_batch,
        n_ubatch=n_ubatch,
        blas=config.blas == "on",
        flash_attn=attention[0][0],
        cache_type_k=attention[0][1],
        cache_type_v=attention[0][2],
    )
    space = Space(
        default=default,
        n_threads_max=threads_allowed(decision),
        n_batch_max=n_ctx,
        attention=attention,
        blas=(False, True) if config.blas == "auto" and ffi.library().build_info()["blas"]["built"] else (),
        is_threads_open=config.threads == 0,
        is_threads_batch_open=config.threads == config.threads_batch == 0,
        is_batch_open=config.n_batch == 0,
        is_ubatch_open=config.n_ubatch == 0,
    )
    job = Job(
        config=config,
        blas=default.blas,
        n_ctx=n_ctx,
        n_slots=n_slots_cached(decide_n_running(config)) + 1,
    )
    return space, job


class Tuning:
    """Drives a Search. `trials` grows with each measurement, and stays readable when run() was interrupted."""

    def __init__(
        self, space: Space, measuring: Measuring, time_limit_s: float, progress: Progress, clock: Clock = time.monotonic
    ) -> None:
        self._space = space
        self._search = Search(space)
        self._measuring = measuring
        self._limit_s = time_limit_s
        self._progress = progress
        self._clock = clock
        self._longest_s = 0.0
        self.trials: list[Trial] = []
        self.n_expected = self._search.n_asks_max()

    @property
    def default(self) -> Candidate:
        """What serving takes without a profile; until that is decided, as it was planned."""
        return self._space.default

    @property
    def choice(self) -> Choice | None:
        """None while nothing is decided, which includes a time limit that was too short."""
        return self._search.choice

    @property
    def is_complete(self) -> bool:
        return self._search.is_complete

    def run(self) -> None:
        """Until something is chosen, or the time is up. Raises what loading the model raises."""
        started = self._clock()
        self._decide_default()
        asking = self._search.run()
        try:
            ask = next(asking)
            while True:
                begun = self._clock()
                left_s = self._limit_s - (begun - started)
                figures = self._measure(ask, left_s) if left_s > 0 else None
                now = self._clock()
                ask = asking.send(Told(figures, now - begun, self._limit_s - (now - started)))
        except StopIteration:
            pass

    def _decide_default(self) -> None:
        """Where serving could not decide, the default stays as it was planned: others may be measured all the same."""
        planned = self.default
        try:
            default = self._measuring.default(load_s=self._limit_s, timeout_s=self._limit_s)
        except TrialFailed as error:
            self.trials.append(Trial(stage="default", candidate=planned, problem=error.message))
            return
        self._space = dataclasses.replace(self._space, default=default)
        self._search = Search(self._space)

    def _measure(self, ask: Ask, left_s: float) -> Figures | None:
        self._progress(ask, None)
        patience_s = max(_PATIENCE * self._longest_s, _PATIENCE_MIN_S) if self._longest_s else left_s
        begun = self._clock()
        try:
            figures = self._measuring.measure(
                ask.candidate, is_full=ask.is_full, load_s=left_s, timeout_s=min(patience_s, left_s)
            )
            trial = Trial(stage=ask.stage, candidate=ask.candidate, figures=figures)
            self._longest_s = max(self._longest_s, self._clock() - begun)
        except TrialFailed as error:
            trial = Trial(stage=ask.stage, candidate=ask.candidate, problem=error.message)
        self.trials.append(trial)
        self._progress(ask, trial)
        return trial.figures
