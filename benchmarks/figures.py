"""What is read out of measured times: percentiles, silences, and whether a goal is met."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal


def percentile(values: Iterable[float], q: float) -> float:
    """The q-th percentile (0..100), interpolated between neighbours as numpy's default does. ValueError for no values."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    place = (len(ordered) - 1) * q / 100
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def silences(times_s: Sequence[float], start_s: float, end_s: float) -> list[float]:
    """How long a stream was silent, each time, between two moments: from its last event before start_s, over those between,
    to end_s. So a stream that says nothing any more counts as well."""
    before = [at_s for at_s in times_s if at_s <= start_s]
    marks = [*(before[-1:] or [start_s]), *(at_s for at_s in times_s if start_s < at_s < end_s), end_s]
    return [later - earlier for earlier, later in itertools.pairwise(marks)]


def common_rate(streams: Sequence[Sequence[float]]) -> float:
    """Events a second of all streams together while every one of them is talking. ValueError if there is no such time."""
    start_s = max(times[0] for times in streams)
    end_s = min(times[-1] for times in streams)
    if end_s <= start_s:
        raise ValueError("the answers did not overlap")
    return sum(start_s < at_s <= end_s for times in streams for at_s in times) / (end_s - start_s)


@dataclass(frozen=True)
class Goal:
    """A limit for our figure: as it stands, or as a multiple of the peer's."""

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
        """Whether our figure meets the goal; None if there is no goal or not what it takes to say so."""
        if self.goal is None or ours is None or (self.goal.of_peer and not peer):
            return None
        value = ours / peer if self.goal.of_peer and peer else ours
        return value <= self.goal.limit if self.unit == "s" else value >= self.goal.limit
