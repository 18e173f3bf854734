"""In which order settings are tried, and which of them is chosen. Pure: no clock, no model; the caller measures.

Coarse to fine, one dimension after the other, each with the best of those before: threads, attention and KV types, BLAS,
batch and micro-batch, then the neighbourhood of the best. A stage measures its incumbent again, so that a machine that grows
slower in the meantime favours nobody. What looks best goes into the finals with the default: measured in turns, forth and
back, and compared by medians. What disturbs a machine only slows it down, and those with many threads the most: so whoever
is to replace the default must take less in the median than the default at its best, had it never waited for a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import msgspec

from llmcore.trials import Candidate, Figures

# The default stays unless another is faster by this much in the finals; within a stage, the incumbent.
GAIN_MIN = 0.05
_STAGE_GAIN = 0.03
_ALIKE = 0.02

_N_FINALISTS = 3  # besides the default
_ROUNDS = 4  # even: in rounds forth and back, a steady drift then adds the same to all
ROUNDS_MIN = 3  # fewer decide nothing: the median of two is moved by each of them
_FINALS_SHARE = 1 / 3  # of the time, for finals, should they need so much

# What is tried as (batch, micro-batch) where both are open.
_BATCHES = ((512, 128), (512, 256), (1024, 512), (1024, 1024))
_N_BATCH_MAX, _N_UBATCH_MIN = 2048, 32


@dataclass(frozen=True, kw_only=True)
class Space:
    """What is open. `default` has the values of everything that is not, and those that serving would take without a profile.

    `attention` are the (flash_attn, cache_type_k, cache_type_v) that may be, `blas` the values that may be, `n_threads_max`
    the threads that the machine and its limits allow, `n_batch_max` the tokens that fit into the context.
    """

    default: Candidate
    n_threads_max: int
    n_batch_max: int = _N_BATCH_MAX
    attention: tuple[tuple[bool, str, str], ...] = ()
    blas: tuple[bool, ...] = ()
    is_threads_open: bool = True
    is_threads_batch_open: bool = True
    is_batch_open: bool = True
    is_ubatch_open: bool = True


class Ask(NamedTuple):
    """Measure this candidate; `is_full`: with a long prompt into an empty cache."""

    stage: str
    candidate: Candidate
    is_full: bool


class Told(NamedTuple):
    """What came of it: None if it cannot be measured. `spent_s` is what the trial took, `left_s` what is left for others."""

    figures: Figures | None
    spent_s: float = 0.0
    left_s: float = math.inf


class Choice(NamedTuple):
    """`gain` is the part of the default's time that is saved; 0 if the default stays, 1 if it could not be measured. Where it
    stays although another one saved `gain_missed` of it, noise may hide as much: undisturbed, the default's best round might
    have taken `noise` less than its median."""

    candidate: Candidate
    gain: float
    n_rounds: int
    gain_missed: float = 0.0
    noise: float = 0.0


Asking = Generator[Ask, Told, None]
Results = dict[Candidate, Figures]


class Search:
    """One search. Drive `run()`: each Ask is answered by sending a Told. `choice` is None until it was made."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._best = space.default
        # Seconds of score, comparable between stages: a stage's incumbent keeps its own, the others are set in proportion.
        self._estimates: dict[Candidate, float] = {}
        self._spent_s: list[float] = []  # by those with a long prompt, as in the finals
        self._left_s = math.inf
        self._limit_s = 0.0  # all the time that there was
        self.is_complete = True  # False once something was left out for want of time
        self.choice: Choice | None = None

    def n_asks_max(self) -> int:
        """About how many trials there will be: for a progress bar."""
        space = self._space
        stages = [len(self._coarse_threads()), len(space.attention), len(space.blas), 1 + len(self._batches())]
        fine = 4 + 4  # an incumbent and up to three others, for threads and for the rest
        return 1 + sum(n for n in stages if n > 1) + fine + _ROUNDS * (_N_FINALISTS + 1)

    def run(self) -> Asking:
        default = self._space.default
        told = yield from self._measure(Ask("default", default, True))
        self._estimates[default] = _score(told)
        yield from self._threads("threads", self._coarse_threads())
        yield from self._stage("attention", [self._with_attention(each) for each in self._space.attention])
        yield from self._stage("blas", [_with(self._best, blas=each) for each in self._space.blas], is_full=True)
        yield from self._stage("batch", self._batches(), is_full=True)
        yield from self._threads("fine", self._fine_threads())
        yield from self._stage("fine", self._neighbours(), is_full=True)
        yield from self._finals()

    # --- Measuring ----------------------------------------------------------------------------------------------------

    def _measure(self, ask: Ask) -> Generator[Ask, Told, Figures | None]:
        told = yield ask
        # What failed may have taken its patience, and comes into no finals.
        if ask.is_full and told.figures is not None:
            self._spent_s.append(told.spent_s)
        self._left_s = told.left_s
        self._limit_s = max(self._limit_s, told.spent_s + told.left_s)
        return told.figures

    @property
    def _trial_s(self) -> float:
        """What a trial of the finals takes. A disturbance that one of them met with does not count as the next one's."""
        return median(self._spent_s) if self._spent_s else 0.0

    def _has_time(self, n: int, besides_s: float = 0.0) -> bool:
        return self._left_s >= n * self._trial_s + besides_s and self._left_s > 0

    @property
    def _finals_s(self) -> float:
        """What is kept for the finals: whole ones if a share of the time is enough for that, and at least the shortest."""
        whole_s, least_s = _ROUNDS * (1 + _N_FINALISTS) * self._trial_s, ROUNDS_MIN * 2 * self._trial_s
        return max(min(whole_s, _FINALS_SHARE * self._limit_s), least_s)

    def _results(self, stage: str, candidates: Iterable[Candidate], is_full: bool) -> Generator[Ask, Told, Results]:
        """Measures as many as there is time for besides the finals, which are worth more than another idea."""
        found: Results = {}
        for candidate in candidates:
            if not self._has_time(1, besides_s=self._finals_s):
                self.is_complete = False
                break
            figures = yield from self._measure(Ask(stage, candidate, is_full))
            if figures is not None:
                found[candidate] = figures
        return found

    def _stage(self, stage: str, candidates: list[Candidate], *, is_full: bool = False) -> Asking:
        others = _distinct([each for each in candidates if each != self._best])
        if not others:
            return
        results = yield from self._results(stage, [self._best, *others], is_full)
        self._estimate(results)
        self._best = _pick(results, self._best, lambda each: each.score_s)

    def _threads(self, stage: str, pairs: list[tuple[int, int]]) -> Asking:
        """Decoding and prompts each choose their own number: a trial tells both."""
        incumbent = self._best
        others = [_with(incumbent, threads=decode, threads_batch=prompt) for decode, prompt in pairs]
        others = _distinct([each for each in others if each != incumbent])
        if not others:
            return
        results = yield from self._results(stage, [incumbent, *others], is_full=False)
        decode = _pick(results, incumbent, lambda each: each.decode_s).threads
        prompt = _pick(results, incumbent, lambda each: each.prompt_token_s).threads_batch
        both = _with(incumbent, threads=decode, threads_batch=prompt)
        if both not in results and both != incumbent:
            results |= yield from self._results(stage, [both], is_full=False)
        self._estimate(results, incumbent)
        self._best = _pick(results, incumbent, lambda each: each.score_s)

    def _estimate(self, results: Results, incumbent: Candidate | None = None) -> None:
        incumbent = incumbent or self._best
        base = results.get(incumbent)
        known = self._estimates.get(incumbent, math.inf)
        ratio = known / base.score_s if base is not None and math.isfinite(known) else 1.0
        for candidate, figures in results.items():
            self._estimates[candidate] = figures.score_s * ratio

    # --- What is tried ------------------------------------------------------------------------------------------------

    def _open_threads(self, counts: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        space, best = self._space, self._best
        return [
            (
                decode if space.is_threads_open else best.threads,
                prompt if space.is_threads_batch_open else best.threads_batch,
            )
            for decode, prompt in counts
            if 1 <= decode <= space.n_threads_max and 1 <= prompt <= space.n_threads_max
        ]

    def _coarse_threads(self) -> list[tuple[int, int]]:
        n, most = self._space.default.threads, self._space.n_threads_max
        counts = sorted({max(n // 4, 1), max(n // 2, 1), max(3 * n // 4, 1), n, most}, reverse=True)
        return self._open_threads((each, each) for each in counts)

    def _fine_threads(self) -> list[tuple[int, int]]:
        """Halfway from the best to what was tried beside it."""
        best = self._best
        tried = sorted({each for pair in self._coarse_threads() for each in pair})
        below, above = [], []
        for each in (best.threads, best.threads_batch):
            below.append((max((n for n in tried if n < each), default=0) + each) // 2)
            above.append((min((n for n in tried if n > each), default=each) + each + 1) // 2)
        return self._open_threads([(max(below[0], 1), max(below[1], 1)), (above[0], above[1])])

    def _with_attention(self, settings: tuple[bool, str, str]) -> Candidate:
        flash_attn, key, value = settings
        return _with(self._best, flash_attn=flash_attn, cache_type_k=key, cache_type_v=value)

    def _batches(self) -> list[Candidate]:
        return self._with_batches(_BATCHES)

    def _with_batches(self, sizes: Iterable[tuple[int, int]]) -> list[Candidate]:
        space, best, found = self._space, self._best, []
        for n_batch, n_ubatch in sizes:
            size = n_batch if space.is_batch_open else best.n_batch
            part = n_ubatch if space.is_ubatch_open else best.n_ubatch
            if part <= size <= max(space.n_batch_max, best.n_batch):
                found.append(_with(best, n_batch=size, n_ubatch=part))
        return _distinct(found)

    def _neighbours(self) -> list[Candidate]:
        """Of the best: sizes halfway to what was tried, and the attention settings that came second, if what else was chosen
        since may have changed their order."""
        best = self._best
        half, double = max(best.n_ubatch // 2, _N_UBATCH_MIN), best.n_ubatch * 2
        sizes = [(best.n_batch, half), (max(best.n_batch, double), double)]
        near = [each for each in self._with_batches(sizes) if each not in self._estimates]
        attention = [self._with_attention(each) for each in self._space.attention]
        rest = sorted((each for each in self._estimates if each != best), key=lambda each: self._estimates[each])
        for seen in rest:
            again = self._with_attention((seen.flash_attn, seen.cache_type_k, seen.cache_type_v))
            if again in attention and again != best and again not in self._estimates:
                return [*near, again]
        return near

    # --- The end ------------------------------------------------------------------------------------------------------

    def _finals(self) -> Asking:
        default, rivals = self._space.default, self._rivals()
        n = max((n for n in range(1, _N_FINALISTS + 1) if self._has_time(ROUNDS_MIN * (n + 1))), default=0)
        finalists = [default, *rivals[:n]]
        if not rivals:
            if math.isfinite(self._estimates[default]) and (self.is_complete or len(self._estimates) > 1):
                self.choice = Choice(default, 0.0, 0)
            return
        if n == 0:
            self.is_complete = False
            return
        scores: dict[Candidate, list[float]] = {each: [] for each in finalists}
        n_rounds, undisturbed_s = 0, math.inf
        while n_rounds < _ROUNDS and self._has_time(len(finalists)):
            found: dict[Candidate, float] = {}
            for candidate in finalists if n_rounds % 2 == 0 else reversed(finalists):
                figures = yield from self._measure(Ask("finals", candidate, True))
                found[candidate] = _score(figures)
                if candidate == default and figures is not None:
                    undisturbed_s = min(undisturbed_s, figures.undisturbed_s)
            if self._left_s <= 0 and math.inf in found.values():
                break  # the end came within the round, and says nothing of whom it met
            for candidate, score_s in found.items():
                scores[candidate].append(score_s)
            n_rounds += 1
        if n_rounds >= ROUNDS_MIN:
            self.choice = choose(default, scores, undisturbed_s)

    def _rivals(self) -> list[Candidate]:
        """Those that look better than the default, the best first. The second is the best with the default's threads: threads
        were chosen first, by a trial each, and a disturbance there would go through all that was tried with them."""
        default, estimates = self._space.default, self._estimates
        better = [each for each in estimates if each != default and estimates[each] < estimates[default]]
        better.sort(key=lambda each: estimates[each])
        again = [_with(each, threads=default.threads, threads_batch=default.threads_batch) for each in better[:1]]
        return _distinct([*better[:1], *(each for each in again if each != default), *better[1:]])


def choose(default: Candidate, scores: dict[Candidate, list[float]], undisturbed_s: float = math.inf) -> Choice | None:
    """The candidate of the least median, or the default unless that gains GAIN_MIN, and is less than the default's best round,
    and than what that might have taken undisturbed. Of those that are about as good, the one that changes least. `scores` are
    seconds of each round, inf where it could not be measured; None if nobody could."""
    medians = {each: median(seconds) for each, seconds in scores.items()}
    least, n_rounds = min(medians.values()), len(scores[default])
    if not math.isfinite(least):
        return None
    if least > medians[default] * (1 - GAIN_MIN):
        return Choice(default, 0.0, n_rounds)
    best_s = min(*scores[default], undisturbed_s) if math.isfinite(medians[default]) else math.inf
    if least > best_s:
        return Choice(default, 0.0, n_rounds, 1 - least / medians[default], 1 - best_s / medians[default])
    enough = min(least * (1 + _ALIKE), medians[default] * (1 - GAIN_MIN), best_s)
    alike = [each for each in medians if medians[each] <= enough]
    best = min(alike, key=lambda each: (_n_changes(each, default), medians[each]))
    return Choice(best, 1 - medians[best] / medians[default], n_rounds)


def _n_changes(candidate: Candidate, default: Candidate) -> int:
    values = zip(msgspec.structs.astuple(candidate), msgspec.structs.astuple(default), strict=True)
    return sum(one != other for one, other in values)


def _with(candidate: Candidate, **changes: object) -> Candidate:
    return msgspec.structs.replace(candidate, **changes)


def _distinct(candidates: list[Candidate]) -> list[Candidate]:
    return list(dict.fromkeys(candidates))


def _score(figures: Figures | None) -> float:
    return math.inf if figures is None else figures.score_s


def _pick(results: Results, incumbent: Candidate, value: Callable[[Figures], float]) -> Candidate:
    """The best by `value`; the incumbent unless that gains _STAGE_GAIN."""
    if not results:
        return incumbent
    best = min(results, key=lambda each: value(results[each]))
    base = results.get(incumbent)
    return incumbent if base is not None and value(results[best]) > value(base) * (1 - _STAGE_GAIN) else best
