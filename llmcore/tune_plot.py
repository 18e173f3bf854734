"""The rows of a tuning as bars: SVG written here, PNG by matplotlib (extra `plot`)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from llmcore.errors import ConfigError
from llmcore.trials import CALL_TURNS, COLD_PROMPT, TURN_ANSWER, TURN_PROMPT
from llmcore.tune_report import ReportRow

# Colours that differ in lightness too.
_COLOURS = ("#1f4e79", "#5b9bd5", "#c9dff2")
_LEGEND = (
    f"answer of {TURN_ANSWER} tokens",
    f"prompt of {TURN_PROMPT} tokens",
    f"1/{CALL_TURNS} of a first prompt of {COLD_PROMPT} (where measured)",
)
_LABEL_WIDTH, _BAR_WIDTH, _VALUE_WIDTH = 440, 440, 90
_TOP, _ROW, _BAR = 84, 26, 16


def check_plot_path(path: Path) -> None:
    """Before anything is measured. Raises ConfigError for a plot that could not be written later."""
    if path.suffix not in (".svg", ".png"):
        raise ConfigError(f"--plot must end in .svg or .png, got {str(path)!r}", param="plot")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--plot: there is no folder {path.absolute().parent}", param="plot")
    if path.suffix == ".png":
        _pyplot()


def write_plot(path: Path, title: str, rows: Sequence[ReportRow]) -> None:
    """Raises ConfigError if it cannot be written."""
    measured = [row for row in rows if row.figures is not None]
    try:
        if path.suffix == ".png":
            _write_png(path, title, measured)
        else:
            path.write_text(svg(title, measured), "utf-8")
    except OSError as error:
        raise ConfigError(f"--plot: cannot write {path}: {error.strerror}", param="plot") from None


def svg(title: str, rows: Sequence[ReportRow]) -> str:
    """A whole SVG document: a bar for each row, in seconds."""
    width, height = _LABEL_WIDTH + _BAR_WIDTH + _VALUE_WIDTH, _TOP + _ROW * len(rows) + 12
    scale = _BAR_WIDTH / max([row.total_s for row in rows] or [1.0])
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="12" y="24" font-size="16">{escape(title)}</text>',
        *_legend(),
    ]
    for i, row in enumerate(rows):
        y = _TOP + _ROW * i
        if i and rows[i - 1].is_final and not row.is_final:
            parts.append(
                f'<line x1="12" y1="{y - 4}" x2="{width - 12}" y2="{y - 4}" stroke="#999" stroke-dasharray="3"/>'
            )
        parts += _bar(row, y, scale)
    return "\n".join([*parts, "</svg>", ""])


def _legend() -> list[str]:
    parts = ['<text x="12" y="46" fill="#666">seconds of a turn; above the dashed line: medians of the finals</text>']
    x = 12
    for colour, text in zip(_COLOURS, _LEGEND, strict=True):
        parts.append(f'<rect x="{x}" y="56" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 18}" y="67">{escape(text)}</text>')
        x += 46 + 7 * len(text)
    return parts


def _bar(row: ReportRow, y: int, scale: float) -> list[str]:
    weight = ' font-weight="bold"' if row.is_chosen else ""
    parts = [f'<text x="{_LABEL_WIDTH - 8}" y="{y + 13}" text-anchor="end"{weight}>{escape(_label(row))}</text>']
    x = float(_LABEL_WIDTH)
    for colour, seconds in zip(_COLOURS, row.segments_s, strict=True):
        parts.append(f'<rect x="{x:.1f}" y="{y}" width="{seconds * scale:.1f}" height="{_BAR}" fill="{colour}"/>')
        x += seconds * scale
    parts.append(f'<text x="{x + 6:.1f}" y="{y + 13}"{weight}>{row.total_s:.3g} s</text>')
    return parts


def _label(row: ReportRow) -> str:
    return f"{row.label} (chosen)" if row.is_chosen else row.label


def _pyplot() -> Any:
    try:
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("Agg")  # no screen
        return importlib.import_module("matplotlib.pyplot")
    except ImportError:
        problem = (
            "--plot: PNG needs matplotlib, which the extra `plot` of llmcore brings; or name a file that ends in .svg"
        )
        raise ConfigError(problem, param="plot") from None


def _write_png(path: Path, title: str, rows: Sequence[ReportRow]) -> None:
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + 0.32 * len(rows)), layout="constrained")
    places = range(len(rows))
    left = [0.0] * len(rows)
    for i, (colour, text) in enumerate(zip(_COLOURS, _LEGEND, strict=True)):
        seconds = [row.segments_s[i] for row in rows]
        axes.barh(places, seconds, left=left, color=colour, label=text)
        left = [before + more for before, more in zip(left, seconds, strict=True)]
    n_finals = sum(row.is_final for row in rows)
    if 0 < n_finals < len(rows):
        axes.axhline(n_finals - 0.5, color="#999", linestyle=":")
    axes.set_yticks(places, [_label(row) for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("seconds of a turn; above the dotted line: medians of the finals")
    axes.set_title(title)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
