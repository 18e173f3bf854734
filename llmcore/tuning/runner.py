"""Runs a tuning from open options to a choice: measures the grid and the finals in rounds, within a time limit."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Protocol

from llmcore.config import EngineConfig
from llmcore.errors import UnsupportedError
from llmcore.llama.kernels import attends, decide_kernels, use_kernels
from llmcore.llama.model import Model
from llmcore.machine.threads import decide_threads
from llmcore.startup.attention_settings import candidates
from llmcore.startup.resolve import decide_batches, decide_n_ctx, decide_n_running, n_slots_cached
from llmcore.startup.trial_result import Candidate, Figures, TrialResult
from llmcore.startup.tuned_profile import threads_allowed
from llmcore.tuning.grid import (
    COUNTS,
    FINAL_ROUNDS,
    FINAL_ROUNDS_MIN,
    GRID_ROUNDS,
    N_CHALLENGERS,
    Space,
    TuningChoice,
    challengers,
    choose,
    grid,
    medians,
)
from llmcore.tuning.trial_messages import TrialJob
from llmcore.tuning.trial_process import TrialFailed

# A trial is ended if it takes this many times as long as the longest good one: such a candidate is not the fastest.
_PATIENCE, _PATIENCE_MIN_S = 6.0, 15.0

# Largest part of the time limit that is reserved for the finals.
_FINALS_SHARE = 1 / 3

Clock = Callable[[], float]
Round = dict[Candidate, Figures | None]


class Measuring(Protocol):
    """Measures candidates; see TrialProcess."""

    def default(self, timeout_s: float) -> Candidate: ...

    def measure(self, candidate: Candidate, *, load_s: float, timeout_s: float) -> Figures: ...


# Called with a label and None when a trial begins, and with its result when it has ended.
TuningProgress = Callable[[str, TrialResult | None], None]


def plan(config: EngineConfig, model: Model) -> tuple[Space, TrialJob]:
    """Returns the search space of a configuration, and the job for the child process. `model` may be loaded without weights; then
    the default's attention is preliminary, and Tuning.run() asks the child for it. Raises UnsupportedError for a model that
    cannot generate."""
    if not model.can_generate:
        raise UnsupportedError(f"{model.path} cannot generate text: there is nothing to tune", param="model")
    decision = decide_threads(config.threads, config.threads_batch)
    threads = decision.counts
    n_ctx = decide_n_ctx(config, model.header.number(f"{model.architecture}.context_length"))
    use_kernels(decide_kernels(config))
    shape = model.attention_shape
    attention = tuple(candidates(config, shape, has_kernels=attends(shape, "f16", "f16")))
    counts: dict[str, Any] = dict(zip(COUNTS, (*threads, *decide_batches(config)), strict=True))
    default = Candidate(**counts, **attention[0].words)
    open_counts = frozenset(name for name in COUNTS if getattr(config, name) == 0)
    if config.threads:
        open_counts -= {"threads_batch"}  # takes the value of threads
    space = Space(
        default=default,
        n_threads_max=threads_allowed(decision),
        n_batch_max=n_ctx,
        attention=attention,
        open_counts=open_counts,
    )
    return space, TrialJob(config=config, n_ctx=n_ctx, n_slots=n_slots_cached(decide_n_running(config)) + 1)


class Tuning:
    """One tuning within a time limit.

    Attributes:
        results: all measurements so far, also after run() was interrupted.
        choice: None until it is made, and if the time limit was too short for one.
        is_complete: False once the time limit left something out.
    """

    def __init__(
        self,
        space: Space,
        measuring: Measuring,
        time_limit_s: float,
        progress: TuningProgress,
        clock: Clock = time.monotonic,
    ) -> None:
        self._space = space
        self._measuring = measuring
        self._limit_s = time_limit_s
        self._progress = progress
        self._clock = clock
        self._started_s = clock()
        self._spent_s: list[float] = []  # seconds of each good trial
        self.results: list[TrialResult] = []
        self.is_complete = True
        self.choice: TuningChoice | None = None

    @property
    def default(self) -> Candidate:
        """Settings that serving takes without a profile; those of plan() until the child has decided."""
        return self._space.default

    @property
    def n_trials_max(self) -> int:
        """Number of trials if nothing fails and time suffices."""
        n = len(grid(self._space))
        return GRID_ROUNDS * n + FINAL_ROUNDS * (1 + N_CHALLENGERS) if n > 1 else 1

    def run(self) -> None:
        """Measures until there is a choice or the time is up. Raises what loading the model raises."""
        self._started_s = self._clock()
        self._decide_default()
        rounds = self._run_grid()
        measured = medians(rounds)
        rivals = challengers(self.default, rounds)
        if rivals:
            self._run_finals(rivals)
        elif self.default in measured and (self.is_complete or len(measured) > 1):
            self.choice = TuningChoice(self.default, 0.0, 0)

    def _decide_default(self) -> None:
        """Asks the child for the default. If that fails, the planned default stays, and other candidates are measured."""
        try:
            default = self._measuring.default(self._left_s)
        except TrialFailed as error:
            self.results.append(TrialResult(stage="default", candidate=self.default, problem=error.message))
            return
        self._space = dataclasses.replace(self._space, default=default)

    # --- Time -----------------------------------------------------------------------------------------------------------

    @property
    def _left_s(self) -> float:
        return self._limit_s - (self._clock() - self._started_s)

    @property
    def _trial_s(self) -> float:
        """Seconds that a trial usually takes: the median, so that one disturbed trial does not count."""
        return median(self._spent_s) if self._spent_s else 0.0

    @property
    def _finals_s(self) -> float:
        """Seconds to reserve for the finals: at most a share of the time limit, at least the shortest possible finals."""
        whole_s = FINAL_ROUNDS * (1 + N_CHALLENGERS) * self._trial_s
        return max(min(whole_s, _FINALS_SHARE * self._limit_s), FINAL_ROUNDS_MIN * 2 * self._trial_s)

    def _has_time(self, n: int, besides_s: float = 0.0) -> bool:
        return self._left_s >= n * self._trial_s + besides_s and self._left_s > 0

    # --- Rounds ---------------------------------------------------------------------------------------------------------

    def _run_grid(self) -> list[Round]:
        """Measures the grid in rounds. The first round measures as many candidates as there is time for; a later one runs only if
        there is time for all of those."""
        members = grid(self._space)
        rounds: list[Round] = []
        for i in range(GRID_ROUNDS if len(members) > 1 else 1):
            if i and not self._has_time(len(members), besides_s=self._finals_s):
                self.is_complete = False
                break
            found: Round = {}
            for candidate in members[:: -1 if i % 2 else 1]:
                if not self._has_time(1, besides_s=self._finals_s):
                    self.is_complete = False
                    break
                found[candidate] = self._measure("grid", candidate)
            if i and len(found) < len(members):
                break
            rounds.append(found)
            members = [each for each in found if found[each] is not None][:: -1 if i % 2 else 1]
        return rounds

    def _run_finals(self, rivals: Sequence[Candidate]) -> None:
        n = max((n for n in range(1, len(rivals) + 1) if self._has_time(FINAL_ROUNDS_MIN * (n + 1))), default=0)
        if n == 0:
            self.is_complete = False
            return
        finalists = [self.default, *rivals[:n]]
        scores: dict[Candidate, list[float]] = {each: [] for each in finalists}
        undisturbed_s = math.inf
        for i in range(FINAL_ROUNDS):
            if not self._has_time(len(finalists)):
                break
            found = {each: self._measure("finals", each) for each in finalists[:: -1 if i % 2 else 1]}
            if self._left_s <= 0 and None in found.values():
                break  # the time limit cut this round short
            for candidate, figures in found.items():
                scores[candidate].append(figures.score_s if figures else math.inf)
            if (base := found[self.default]) is not None:
                undisturbed_s = min(undisturbed_s, base.undisturbed_s)
        if len(scores[self.default]) >= FINAL_ROUNDS_MIN:
            self.choice = choose(self.default, scores, undisturbed_s)

    def _measure(self, stage: str, candidate: Candidate) -> Figures | None:
        left_s = self._left_s
        if left_s <= 0:
            return None
        label = f"{stage}: {candidate.difference(self.default) or 'default'}"
        self._progress(label, None)
        patience_s = max(_PATIENCE * max(self._spent_s), _PATIENCE_MIN_S) if self._spent_s else left_s
        begun_s = self._clock()
        try:
            figures = self._measuring.measure(candidate, load_s=left_s, timeout_s=min(patience_s, left_s))
            result = TrialResult(stage=stage, candidate=candidate, figures=figures)
            self._spent_s.append(self._clock() - begun_s)
        except TrialFailed as error:
            result = TrialResult(stage=stage, candidate=candidate, problem=error.message)
        self.results.append(result)
        self._progress(label, result)
        return result.figures
