"""Grid of candidates, and the choice among them. Pure: no clock, no model; the runner measures.

The grid holds the default, threads × batch with the default's attention, and attention × KV types with the default's threads
and batch. The best of each part, and both together, meet the default in the finals. Other work on the machine can only slow
candidates down, and those with many threads most of all. So a challenger is chosen only if its median is below the default's
best round, less the time that the default's threads waited for a CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple, TypeVar

from msgspec.structs import astuple, replace

from llmcore.startup.attention_settings import GAIN_MIN, AttentionSettings
from llmcore.startup.trial_result import Candidate, Figures, median_figures

# Rounds alternate in direction. Their number is even, so that a steady drift adds the same to all candidates.
GRID_ROUNDS, FINAL_ROUNDS = 2, 4
# Fewer rounds decide nothing: each one would move the median.
FINAL_ROUNDS_MIN = 3
N_CHALLENGERS = 3

# Part of the default's time that a challenger with other counts must save in the grid to get into the finals. There it must save
# GAIN_MIN.
_GRID_GAIN_MIN = 0.03
# Candidates within this part of the best one are equally good.
_ALIKE = 0.02

COUNTS = ("threads", "threads_batch", "n_batch", "n_ubatch")
# (n_batch, n_ubatch), beside the default's.
_BATCHES = ((512, 128), (512, 256), (1024, 1024))
# Threads, as parts of the default's, beside the most that the machine allows.
_THREADS = ((1, 1), (1, 2), (3, 4))

_Key = TypeVar("_Key", Candidate, int)


@dataclass(frozen=True, kw_only=True)
class Space:
    """Search space of a tuning.

    Attributes:
        default: values that serving takes without a profile; the given ones of options that are not open.
        n_threads_max: threads that the machine and its limits allow.
        n_batch_max: tokens that fit into the context.
        attention: the allowed settings.
        open_counts: the names in COUNTS that are open.
    """

    default: Candidate
    n_threads_max: int
    n_batch_max: int
    attention: tuple[AttentionSettings, ...]
    open_counts: frozenset[str] = frozenset(COUNTS)


class TuningChoice(NamedTuple):
    """Chosen candidate. `gain` is the part of the default's time that it saves; 0 for the default itself, 1 if the default could
    not be measured. If the default stays although a challenger saved `gain_missed` of its time, `noise` is the part of that time
    that other work may have caused."""

    candidate: Candidate
    gain: float
    n_rounds: int
    gain_missed: float = 0.0
    noise: float = 0.0


def grid(space: Space) -> list[Candidate]:
    """Returns the candidates to measure, the default first and combinations last: a time limit cuts off the end."""
    default = space.default
    parts = {max(default.threads * part // whole, 1) for part, whole in _THREADS}
    counts = [n for n in sorted({*parts, space.n_threads_max}, reverse=True) if n <= space.n_threads_max]
    threads = [_with_counts(default, space, threads=n, threads_batch=n) for n in counts]
    batches = [_with_counts(default, space, n_batch=n_batch, n_ubatch=n_ubatch) for n_batch, n_ubatch in _BATCHES]
    n_batch_max = max(space.n_batch_max, default.n_batch)
    batches = [each for each in batches if each.n_ubatch <= each.n_batch <= n_batch_max]
    both = [replace(each, n_batch=batch.n_batch, n_ubatch=batch.n_ubatch) for each in threads for batch in batches]
    attention = [replace(default, **each.words) for each in space.attention]
    return list(dict.fromkeys([default, *threads, *attention, *batches, *both]))


def medians(rounds: Sequence[Mapping[Candidate, Figures | None]]) -> dict[Candidate, Figures]:
    """Returns the median figures of the candidates that could be measured in every round."""
    found: dict[Candidate, list[Figures]] = {}
    for each in rounds:
        for candidate, figures in each.items():
            if figures is not None:
                found.setdefault(candidate, []).append(figures)
    return {each: median_figures(figures) for each, figures in found.items() if len(figures) == len(rounds)}


def challengers(default: Candidate, rounds: Sequence[Mapping[Candidate, Figures | None]]) -> list[Candidate]:
    """Returns the candidates for the finals, the most promising first: the best values of the grid combined, the same with the
    default's threads (other work may have favoured other threads), and the fastest of the grid."""
    measured = medians(rounds)
    best = replace(_best_counts(default, measured), **_best_attention(default, rounds).words)
    same_threads = replace(best, threads=default.threads, threads_batch=default.threads_batch)
    base_s = measured[default].score_s if default in measured else math.inf
    faster = [each for each in measured if measured[each].score_s < base_s * (1 - _GRID_GAIN_MIN)]
    faster.sort(key=lambda each: measured[each].score_s)
    return [each for each in dict.fromkeys([best, same_threads, *faster]) if each != default][:N_CHALLENGERS]


def _best_counts(default: Candidate, measured: Mapping[Candidate, Figures]) -> Candidate:
    """Returns the default with the best counts: `threads` by the steps of one token, the other counts by the prompts."""
    own = {each: measured[each] for each in measured if each.attention == default.attention}
    decode: dict[int, list[float]] = {}
    for candidate, figures in own.items():
        decode.setdefault(candidate.threads, []).append(figures.decode_s)
    threads = _pick({n: median(seconds) for n, seconds in decode.items()}, default.threads)
    prompts = _pick({each: figures.prompts_s for each, figures in own.items()}, default)
    return replace(prompts, threads=threads)


def _best_attention(default: Candidate, rounds: Sequence[Mapping[Candidate, Figures | None]]) -> AttentionSettings:
    """Returns the best attention among the candidates with the default's counts: the default's, unless each of at least two rounds
    finds that the best one saves GAIN_MIN of the same round's default."""
    scores = {
        each: figures.score_s
        for each, figures in medians(rounds).items()
        if replace(each, **default.attention.words) == default
    }
    best = min(scores, key=lambda each: scores[each], default=default)
    pairs = [(found.get(best), found.get(default)) for found in rounds]
    is_proven = len(rounds) > 1 and all(
        one is None or (other is not None and other.score_s <= one.score_s * (1 - GAIN_MIN)) for other, one in pairs
    )
    return best.attention if is_proven else default.attention


def _pick(seconds: Mapping[_Key, float], incumbent: _Key) -> _Key:
    """Returns the key of the least value; the incumbent unless that saves _GRID_GAIN_MIN."""
    if not seconds:
        return incumbent
    best = min(seconds, key=lambda each: seconds[each])
    return incumbent if seconds[best] > seconds.get(incumbent, math.inf) * (1 - _GRID_GAIN_MIN) else best


def choose(
    default: Candidate, scores: Mapping[Candidate, list[float]], undisturbed_s: float = math.inf
) -> TuningChoice | None:
    """Returns the choice after the finals, None if no candidate could be measured. Of equally good candidates, the one with the
    fewest changes is chosen.

    Args:
        scores: seconds of each round by candidate; infinite for a round that failed.
        undisturbed_s: lower bound of the default's seconds on a machine without other work.
    """
    middle = {each: median(seconds) for each, seconds in scores.items()}
    least, base, n_rounds = min(middle.values()), middle[default], len(scores[default])
    if not math.isfinite(least):
        return None
    if least > base * (1 - GAIN_MIN):
        return TuningChoice(default, 0.0, n_rounds)
    best_s = min(*scores[default], undisturbed_s) if math.isfinite(base) else math.inf
    if least > best_s:
        return TuningChoice(default, 0.0, n_rounds, 1 - least / base, 1 - best_s / base)
    enough = min(least * (1 + _ALIKE), base * (1 - GAIN_MIN), best_s)
    alike = [each for each in middle if middle[each] <= enough]
    best = min(alike, key=lambda each: (_n_changes(each, default), middle[each]))
    return TuningChoice(best, 1 - middle[best] / base, n_rounds)


def _n_changes(candidate: Candidate, default: Candidate) -> int:
    values = zip(astuple(candidate), astuple(default), strict=True)
    return sum(one != other for one, other in values)


def _with_counts(candidate: Candidate, space: Space, **counts: int) -> Candidate:
    return replace(candidate, **{name: n for name, n in counts.items() if name in space.open_counts})
