"""Figures from measured times: percentiles, silences, common rates, and comparisons with a goal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


def percentile(values: Iterable[float], q: float) -> float:
    """Returns the q-th percentile (0..100), interpolated linearly as by numpy. Raises ValueError for no values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    place = (len(ordered) - 1) * q / 100
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def silences(times_s: Sequence[float], start_s: float, end_s: float) -> list[float]:
    """Returns the silences of a stream between two times, in seconds: from its last event before start_s, between its events, and
    from the last one to end_s, so that a stream without further events counts too."""
    before = [at_s for at_s in times_s if at_s <= start_s]
    marks = [*(before[-1:] or [start_s]), *(at_s for at_s in times_s if start_s < at_s < end_s), end_s]
    return [later - earlier for earlier, later in itertools.pairwise(marks)]


def common_rate(streams: Sequence[Sequence[float]]) -> float:
    """Returns the events per second of all streams together while all of them are active. Raises ValueError if they never are."""
    start_s = max(times[0] for times in streams)
    end_s = min(times[-1] for times in streams)
    if end_s <= start_s:
        raise ValueError("the answers did not overlap")
    return sum(start_s < at_s <= end_s for times in streams for at_s in times) / (end_s - start_s)


@dataclass(frozen=True)
class Goal:
    """A limit for our figure: absolute, or a multiple of the peer's."""

    limit: float
    of_peer: bool = True


@dataclass(frozen=True)
class Row:
    """A line of the report: a figure of a scenario, in seconds (less is better) or tokens a second (more is)."""

    figure: str
    label: str
    unit: Literal["s", "tok/s"]
    goal: Goal | None = None

    @property
    def goal_text(self) -> str:
        if self.goal is None:
            return "–"
        if self.goal.of_peer and self.goal.limit == 1:
            return "not worse"
        bound = "at most" if self.unit == "s" else "at least"
        return f"{bound} {self.goal.limit:.3g}{' × the peer’s' if self.goal.of_peer else f' {self.unit}'}"

    def is_met(self, ours: float | None, peer: float | None) -> bool | None:
        """Returns True if our figure meets the goal; None if there is no goal or a figure is missing."""
        if self.goal is None or ours is None or (self.goal.of_peer and not peer):
            return None
        value = ours / peer if self.goal.of_peer and peer else ours
        return value <= self.goal.limit if self.unit == "s" else value >= self.goal.limit
