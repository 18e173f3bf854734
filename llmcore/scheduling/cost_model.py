"""Predicts how long a step will take, and learns it from the steps themselves. Pure arithmetic: no clock.

A step of n tokens, of which n_outputs want logits, over n_cells cells is predicted to take

    base(n) + attention(n) · n · n_cells + output · n_outputs        seconds

where base and attention are piecewise linear in n, between knots: small batches are bound by reading the weights, large ones by
arithmetic, and where one turns into the other depends on machine, model and kernels. Kernels compute rows in tiles, so time
grows in stairs: knots lie close where drafts make that matter. Cells count whether they are masked or not, since llama.cpp
computes masked scores too.

Each step corrects the prediction by a part of its error (normalized least mean squares; Haykin, Adaptive Filter Theory,
ch. 6). That is cheap, and follows a machine as its speed changes.

Drafts are bought by predict_more(), which errs on the hopeful side where predict() errs on the slow one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

KNOTS = (*range(1, 10), 12, 16, 17, 24, 25, *(2**i for i in range(5, 14)))

# Part of a prediction's error that one observation corrects, if the one before was of the same size. What is known fades while
# steps have other sizes, as in a Kalman filter: after _FADING of them an observation corrects 0.4 of the error, after 30 of them
# 0.74. Then the bounds of the relative error: a step that took five times as long shows what else runs on the machine, not the
# cost of the step.
_RATE, _FADING = 0.25, 4
_ERROR_MIN, _ERROR_MAX = -0.5, 1.0
_PASSES = 100

# A knot without an observation among so many of the last ones is old: the machine may have changed. One with few observations is
# old sooner: they may have been hiccups, and what seems slow is not tried again.
_OLD, _OLD_EACH = 500, 16

# A step that takes longer than predicted by more than this part is taken for a hiccup, from which little is learned, unless the
# last step of about that size took as long too.
_HICCUP, _HICCUP_RATE = 0.4, 0.05

# Units of cells and outputs that make them features of a magnitude like the others'.
_CELLS, _OUTPUTS = 1024, 8

# Predictions stay positive.
_BASE_MIN_S = 1e-7


class Measurement(NamedTuple):
    """One measured step of n_tokens tokens, n_outputs of them with logits, over n_cells cells."""

    n_tokens: int
    n_outputs: int
    n_cells: int
    seconds: float


class CostModel:
    """Unknown until the first measurement; predicts 0 then.

    `_base[k]` is the seconds of a step of KNOTS[k] tokens over no cells, `_attention[k]` the seconds that 1,024 cells add to it,
    `_output` the seconds that 8 rows of logits add to any step.
    """

    def __init__(self, measured: Sequence[Measurement] = ()) -> None:
        self._base = [0.0] * len(KNOTS)
        self._attention = [0.0] * len(KNOTS)
        self._output = 0.0
        self._seen: set[int] = set()  # knots near a measurement; the others are guessed from these
        self._seen_at = [0] * len(KNOTS)  # number of the last observation near each knot
        self._n_seen = [0] * len(KNOTS)  # number of observations near each knot
        self._n_observed = 0
        self._was_off = [False] * len(KNOTS)  # the last step near each knot took much longer than predicted
        self._fresh: list[int] = []  # knots in _seen that are not old; all, if all are old
        self._is_stale = False
        # One measurement cannot separate base from attention: the same ones are learned over and over, until they agree.
        for _ in range(_PASSES):
            for each in sorted(measured, key=lambda each: (each.n_cells, each.n_tokens)):
                self.observe(*each)
        self._seen_at = [self._n_observed] * len(KNOTS)
        self._find_fresh()

    @property
    def is_known(self) -> bool:
        return bool(self._seen)

    def predict(self, n_tokens: int, n_outputs: int, n_cells: int) -> float:
        """Returns the seconds of a step."""
        seconds = self._output * n_outputs / _OUTPUTS
        for knot, share, load in _features(n_tokens, n_cells):
            if self._is_stale and knot not in self._seen:
                self._guess()
            seconds += share * self._base[knot] + load * self._attention[knot]
        return seconds

    def predict_more(self, n_tokens: int, n_outputs: int, n_cells: int, n_more: int) -> list[float]:
        """Returns the seconds of steps with 0, 1, … n_more further tokens, all of which want logits.

        Sizes that were not measured, or not for long, are taken to lie on the line between those around them. predict() errs on
        the slow side there, and what seems slow is never tried.
        """
        knots = [(KNOTS[each], self._base[each], self._attention[each] / KNOTS[each]) for each in self._fresh]
        cells, output = n_cells / _CELLS, self._output / _OUTPUTS
        n, end = n_tokens, n_tokens + n_more + 1
        low = bisect_right(knots, (n, float("inf"))) - 1
        found: list[float] = []
        while n < end:
            start, base, attention = knots[max(low, 0)] if knots else (1, 0.0, 0.0)
            stop, slope, attention_slope = end, base / start, 0.0  # beyond the last knot
            if low + 1 < len(knots):
                stop, next_base, next_attention = knots[low + 1]
                width = max(stop - start, 1)  # 1 before the first knot, where nothing changes
                slope, attention_slope = (next_base - base) / width, (next_attention - attention) / width
            found += [
                base
                + (each - start) * slope
                + each * cells * (attention + (each - start) * attention_slope)
                + (n_outputs + each - n_tokens) * output
                for each in range(n, min(stop, end))
            ]
            n, low = min(stop, end), low + 1
        return found

    def n_since(self, n_tokens: int) -> int:
        """Number of observations since one of a step of about n_tokens tokens."""
        nearest = max(_features(n_tokens, 0), key=lambda each: each[1])[0]
        return self._n_observed - self._seen_at[nearest]

    def observe(self, n_tokens: int, n_outputs: int, n_cells: int, seconds: float) -> None:
        """Learns from a step."""
        knots = _features(n_tokens, n_cells)
        nearest = max(knots, key=lambda each: each[1])[0]
        n_since = self._n_observed - self._seen_at[nearest]
        rate = (_FADING + n_since) / (_FADING / _RATE + n_since)
        if nearest not in self._seen:
            self._begin(nearest, n_tokens, n_outputs, n_cells, seconds)
        self._n_observed += 1
        self._seen_at[nearest] = self._n_observed
        self._n_seen[nearest] += 1
        if nearest not in self._fresh or self._n_observed % _OLD_EACH == 0:
            self._find_fresh()
        predicted = self.predict(n_tokens, n_outputs, n_cells)
        error = min(max((seconds - predicted) / predicted, _ERROR_MIN), _ERROR_MAX) * predicted
        outputs = n_outputs / _OUTPUTS if error > 0 or self._output > 0 else 0.0  # it cannot fall below 0
        norm = sum(share * share + load * load for _, share, load in knots) + outputs * outputs
        was_off, is_off = self._was_off[nearest], error > _HICCUP * predicted
        self._was_off[nearest] = is_off
        if is_off and not was_off:
            rate = _HICCUP_RATE
        step = rate * error / norm
        for knot, share, load in knots:
            self._base[knot] = max(self._base[knot] + step * share, _BASE_MIN_S)
            self._attention[knot] = max(self._attention[knot] + step * load, 0.0)
        self._output = max(self._output + step * outputs, 0.0)
        self._is_stale = True

    def tokens_within(self, seconds: float, n_tokens: int, n_outputs: int, n_cells: int, n_max: int) -> int:
        """Number of further tokens, at most n_max, that fit into a step of n_tokens (n_outputs of them with logits) of at most
        `seconds`. May be 0."""
        low, high = 0, n_max
        while low < high:
            middle = (low + high + 1) // 2
            if self.predict(n_tokens + middle, n_outputs, n_cells + middle) <= seconds:
                low = middle
            else:
                high = middle - 1
        return low

    def prefill_seconds(self, start: int, end: int, n_chunk: int) -> float:
        """Seconds to compute tokens [start, end) of a prompt that is alone, in chunks of n_chunk."""
        n = end - start
        if n <= 0:
            return 0.0
        n_chunk = max(1, min(n, n_chunk))
        return self.predict(n_chunk, 0, (start + end) // 2) * n / n_chunk

    def describe(self) -> dict[str, object]:
        """Returns the learned figures of each knot near a measurement, for inspection."""
        seen = sorted(self._seen)
        return {
            "n_tokens": [KNOTS[knot] for knot in seen],
            "base_s": [self._base[knot] for knot in seen],
            "attention_s_per_1024_cells": [self._attention[knot] for knot in seen],
            "output_s": self._output / _OUTPUTS,
        }

    def _begin(self, knot: int, n_tokens: int, n_outputs: int, n_cells: int, seconds: float) -> None:
        """Takes the first measurement near a knot: its attention is its neighbour's, its base the rest of the seconds."""
        near = min(self._seen, key=lambda each: abs(each - knot), default=None)
        attention = 0.0 if near is None else self._attention[near] * KNOTS[knot] / KNOTS[near]
        rest = seconds - attention * n_cells / _CELLS - self._output * n_outputs / _OUTPUTS
        self._seen.add(knot)
        self._base[knot] = max(rest, 0.2 * seconds, _BASE_MIN_S) * KNOTS[knot] / max(n_tokens, 1)
        self._attention[knot] = attention
        self._is_stale = True

    def _is_old(self, knot: int) -> bool:
        return self._n_observed - self._seen_at[knot] > min(_OLD, _OLD_EACH * self._n_seen[knot])

    def _find_fresh(self) -> None:
        seen = sorted(self._seen)
        self._fresh = [each for each in seen if not self._is_old(each)] or seen

    def _guess(self) -> None:
        """Fills knots without a measurement from those around them, on the slow side: time grows with tokens, at most linearly."""
        self._is_stale = False
        seen = sorted(self._seen)
        for knot in range(len(KNOTS)):
            if knot in self._seen or not seen:
                continue
            behind = bisect_right(seen, knot)
            below = seen[behind - 1] if behind else None
            above = seen[behind] if behind < len(seen) else None
            source = below if below is not None else seen[0]
            ratio = KNOTS[knot] / KNOTS[source]
            self._base[knot] = self._base[source] * max(ratio, 1.0)
            self._attention[knot] = self._attention[source] * ratio
            if above is not None:
                self._base[knot] = min(self._base[knot], self._base[above])


def _features(n_tokens: int, n_cells: int) -> list[tuple[int, float, float]]:
    """Returns (knot, share, load) of the one or two knots around n_tokens. Shares sum to 1; the load is in units of 1,024
    cells."""
    n = min(max(n_tokens, 1), KNOTS[-1])
    low = bisect_right(KNOTS, n) - 1
    found = [(low, 1.0)]
    if KNOTS[low] != n:
        weight = (n - KNOTS[low]) / (KNOTS[low + 1] - KNOTS[low])
        found = [(low, 1.0 - weight), (low + 1, weight)]
    return [(knot, share, share * n / KNOTS[knot] * n_cells / _CELLS) for knot, share in found]
