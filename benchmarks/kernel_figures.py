"""Figures of benchmarks.kernels: sizes, names, and the goals of each model."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.figures import Goal, Row
from benchmarks.markdown import markdown_table

# Sides. FLASH and PLAIN are llama.cpp with and without flash attention; "/split" means a KV buffer for each sequence.
OURS, FLASH, PLAIN, OPENVINO = "ours", "flash", "plain", "openvino"
SPLIT = "/split"

Seconds = Mapping[str, Sequence[float]]
"""Of each step of a figure, by the figure's name."""


@dataclass(frozen=True)
class Sizes:
    """Numbers of tokens and of timed steps. `scale` multiplies all of them, for a smoke test."""

    scale: float = 1.0

    def _scaled(self, n: int) -> int:
        return max(round(n * self.scale), 2)

    @property
    def chunk(self) -> int:
        return self._scaled(512)

    @property
    def deep(self) -> int:
        return self._scaled(2048)

    @property
    def prefix(self) -> int:
        return min(self._scaled(2000), self.deep)

    @property
    def middle(self) -> int:
        return self._scaled(300)

    @property
    def short(self) -> int:
        return self._scaled(32)

    @property
    def n_rows(self) -> int:
        return 8

    @property
    def n_slot_cells(self) -> int:
        """Largest number of tokens of a sequence in a batch of sequences."""
        return -(-(self.prefix + 64) // 256) * 256


@dataclass(frozen=True)
class Figure:
    """One figure; `n_tokens` is the number of tokens of its step."""

    name: str
    label: str
    n_tokens: int


def figures(sizes: Sizes) -> tuple[Figure, ...]:
    n = sizes.n_rows
    return (
        Figure("prefill", f"prefill of {sizes.chunk:,}", sizes.chunk),
        Figure("prefill long", f"prefill of {sizes.deep:,}", sizes.deep),
        Figure("prefill deep", f"prefill of {sizes.chunk:,} at depth {sizes.deep:,}", sizes.chunk),
        Figure("decode", "decode, one row, depth 0", 1),
        Figure("decode middle", f"decode, one row, depth {sizes.middle:,}", 1),
        Figure("decode deep", f"decode, one row, depth {sizes.deep:,}", 1),
        Figure("rows", f"decode, {n} rows, {sizes.short:,} tokens each", n),
        Figure("rows prefix", f"decode, {n} rows sharing a prefix of {sizes.prefix:,}", n),
        Figure("rows own", f"decode, {n} rows of {sizes.prefix:,} tokens each, unshared", n),
    )


@dataclass(frozen=True)
class Aim:
    """Goal of one figure of ours. `peer` is the better of llama.cpp's two sides, or its default."""

    figure: str
    ratio: float
    peer: Literal["better", "default"] = "better"
    above_openvino: bool = False


_LARGE_AMX = (
    Aim("prefill", 2.8, above_openvino=True),
    Aim("prefill long", 2.5, above_openvino=True),
    Aim("prefill deep", 3.5),
    Aim("decode", 1.3),
    Aim("decode deep", 1.35),
    Aim("rows", 2.0),
    Aim("rows prefix", 2.2),
    Aim("rows own", 2.0),
)
_LARGE_PORTABLE = (
    Aim("prefill", 1.0),
    Aim("prefill long", 1.0),
    Aim("prefill deep", 1.0),
    Aim("decode", 1.0),
    Aim("decode deep", 1.3),
    Aim("rows", 1.3),
    Aim("rows prefix", 1.3),
    Aim("rows own", 1.3),
)


def aims(model: str, has_amx: bool, sizes: Sizes) -> tuple[Aim, ...]:
    """Returns the goals of a model by its name on the command line: those of the 1B shape depend on the CPU, other models may not
    be slower."""
    if model == "1b":
        return _LARGE_AMX if has_amx else _LARGE_PORTABLE
    equal = tuple(Aim(each.name, 1.0) for each in figures(sizes))
    return (*equal, Aim("decode middle", 2.0, "default")) if model == "default" else equal


@dataclass(frozen=True)
class Line:
    """A goal, and the medians of all turns in tokens per second. `peer_side` is the side of the comparison."""

    label: str
    aim: Aim
    ours: float | None
    default: float | None
    plain: float | None
    openvino: float | None
    peer: float | None

    @property
    def ratio(self) -> float | None:
        return round(self.ours / self.peer, 2) if self.ours and self.peer else None

    @property
    def row(self) -> Row:
        return Row(self.aim.figure, self.label, "tok/s", Goal(self.aim.ratio))

    @property
    def goal(self) -> str:
        text = "not slower" if self.aim.ratio == 1 else f"{self.aim.ratio:g} ×"
        text += " the default" if self.aim.peer == "default" else ""
        return text + (", above OpenVINO" if self.aim.above_openvino else "")

    @property
    def verdict(self) -> str:
        """Compares the ratio with the goal as it is shown, with two decimals."""
        is_met = self.row.is_met(self.ratio, 1.0)
        if is_met and self.aim.above_openvino and self.openvino and self.ours:
            is_met = self.ours > self.openvino
        return "–" if is_met is None else "met" if is_met else "not met"


@dataclass(frozen=True)
class Turn:
    """Measurements of one process of a side. `load_s` is the time to load the model, `model_bytes` the resident memory that it
    added."""

    side: str
    seconds: Seconds
    load_s: float = 0.0
    model_bytes: int = 0


def rate(turns: Sequence[Turn], side: str, figure: Figure) -> float | None:
    """Tokens per second: the median over turns of the median step."""
    found = [each.seconds[figure.name] for each in turns if each.side == side and figure.name in each.seconds]
    return figure.n_tokens / statistics.median(map(statistics.median, found)) if found else None


def best_rate(turns: Sequence[Turn], side: str, figure: Figure) -> float | None:
    """Rate in one KV buffer or in split ones, whichever is faster."""
    split = Figure(figure.name + SPLIT, figure.label, figure.n_tokens)
    return max(filter(None, (rate(turns, side, figure), rate(turns, side, split))), default=None)


def lines(turns: Sequence[Turn], model: str, has_amx: bool, sizes: Sizes) -> list[Line]:
    by_name = {each.name: each for each in figures(sizes)}
    found = []
    for aim in aims(model, has_amx, sizes):
        figure = by_name[aim.figure]
        default, plain = best_rate(turns, FLASH, figure), best_rate(turns, PLAIN, figure)
        better = max(filter(None, (default, plain)), default=None)
        found.append(
            Line(
                figure.label,
                aim,
                rate(turns, OURS, figure),
                default,
                plain,
                rate(turns, OPENVINO, figure),
                default if aim.peer == "default" else better,
            )
        )
    return found


OPENVINO_HEAD = "OpenVINO GenAI"
HEADS = ("measured, tok/s", "ours", "llama.cpp, flash attention", "without", OPENVINO_HEAD, "ratio", "goal", "met")


def table(found: Sequence[Line]) -> str:
    """Table in Markdown, with a column of OpenVINO if it was measured."""
    is_there = [head != OPENVINO_HEAD or any(line.openvino for line in found) for head in HEADS]
    rows = [list(HEADS)]
    for line in found:
        ratio = f"{line.ratio:.2f}" if line.ratio is not None else "–"
        verdict = f"**{line.verdict}**" if line.verdict == "not met" else line.verdict
        rates = [shown(value) for value in (line.ours, line.default, line.plain, line.openvino)]
        rows.append([line.label, *rates, ratio, line.goal, verdict])
    heads, *cut = [[cell for cell, is_shown in zip(row, is_there, strict=True) if is_shown] for row in rows]
    return markdown_table(heads, cut)


def shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.1f}"
