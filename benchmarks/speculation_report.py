"""Findings about speculation, as tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# Least ratio of our rate to the peer's best, over HTTP.
PEER_GOAL = 1.8


@dataclass(frozen=True)
class LocalFinding:
    """Rates in this process, in tokens per second: (without, with) speculation, one pair for each turn. `acceptance` is the part of
    the draft tokens that were accepted; None if there were none. `is_same` is True if both gave the same answers."""

    work: str
    pairs: tuple[tuple[float, float], ...]
    goal: float | None
    tokens_per_step: float
    acceptance: float | None
    is_same: bool

    @property
    def ratio(self) -> float:
        """Median of the turns' ratios."""
        return statistics.median(with_it / without for without, with_it in self.pairs)

    @property
    def is_met(self) -> bool | None:
        """True if the ratio meets the goal; None without a goal."""
        return None if self.goal is None else self.ratio >= self.goal

    def cells(self) -> list[str]:
        """Cells of a table's row; see LOCAL_HEADS."""
        ratios = [with_it / without for without, with_it in self.pairs]
        return [
            self.work,
            *(f"{statistics.median(column):.1f}" for column in zip(*self.pairs, strict=True)),
            f"{self.ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
            "–" if self.goal is None else f"at least {self.goal:g}",
            {None: "", True: "met", False: "**not met**"}[self.is_met],
            f"{self.tokens_per_step:.2f}",
            "–" if self.acceptance is None else f"{self.acceptance:.0%}",
            "yes" if self.is_same else "**no**",
        ]


LOCAL_HEADS = (
    *("work", "without, tok/s", "with, tok/s", "ratio", "goal", "met"),
    *("tokens per step", "accepted", "same answers"),
)


@dataclass(frozen=True)
class ServerFinding:
    """Rates over HTTP in tokens per second, by the name of the server's setting, one for each turn; a setting that failed has a
    message instead."""

    work: str
    rates: dict[str, list[float]]
    failures: dict[str, str]

    def median(self, name: str) -> float | None:
        """Median over the turns; None if nothing was measured."""
        return statistics.median(self.rates[name]) if self.rates.get(name) else None

    def best(self, prefix: str) -> tuple[str, float] | None:
        """Returns the setting whose name begins with `prefix` and that is fastest, and its rate."""
        found = [(name, rate) for name in self.rates if name.startswith(prefix) and (rate := self.median(name))]
        return max(found, key=lambda each: each[1], default=None)

    @property
    def ratio(self) -> float | None:
        """Our best rate against the peer's best."""
        ours, peer = self.best(OURS), self.best(PEER)
        return None if ours is None or peer is None else ours[1] / peer[1]


OURS, PEER = "ours", "llama-server"


def markdown(local: Sequence[LocalFinding], served: Sequence[ServerFinding], head: str) -> str:
    """Section of the document: where and when, rates in this process, rates over HTTP."""
    parts = [head]
    if local:
        parts.append(_table(LOCAL_HEADS, [each.cells() for each in local]))
    if served:
        parts.append("Over HTTP, tokens per second:")
        parts.append(server_table(served))
        failed = [f"- {each.work}, {name}: {text}" for each in served for name, text in each.failures.items()]
        if failed:
            parts.append("\n".join(["Failed:", "", *failed]))
    return "\n\n".join(parts)


def server_table(served: Sequence[ServerFinding]) -> str:
    """Returns a row for each work, and a column for each setting that any of them was measured with."""
    names = list(dict.fromkeys(name for each in served for name in each.rates))
    rows = []
    for each in served:
        rates = [each.median(name) for name in names]
        ratio = each.ratio
        shown = "–" if ratio is None else f"{ratio:.2f}"
        rows.append([each.work, *("–" if rate is None else f"{rate:.1f}" for rate in rates), shown])
    return _table(("work", *names, "ours against its best"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
