"""Bar plot of a report, drawn by matplotlib (extra `plot`)."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llmcore.errors import ConfigError
from llmcore.startup.step_timing import TURN_ANSWER, TURN_PROMPT
from llmcore.startup.trial_result import CALL_TURNS, COLD_PROMPT
from llmcore.tuning.report import ReportRow

_SUFFIXES = (".svg", ".png")
# Distinguishable by lightness alone.
_COLOURS = ("#1f4e79", "#5b9bd5", "#c9dff2")
_LEGEND = (
    f"answer of {TURN_ANSWER} tokens",
    f"prompt of {TURN_PROMPT} tokens",
    f"1/{CALL_TURNS} of a first prompt of {COLD_PROMPT}",
)


def check_plot_path(path: Path) -> None:
    """Raises ConfigError for a plot that cannot be written. Called before anything is measured."""
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"--plot must end in {' or '.join(_SUFFIXES)}, got {str(path)!r}", param="plot")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"--plot: there is no folder {path.absolute().parent}", param="plot")
    _pyplot()


def write_plot(path: Path, title: str, rows: Sequence[ReportRow]) -> None:
    """Draws the rows with figures, one bar each. Raises ConfigError if the file cannot be written."""
    pyplot = _pyplot()
    measured = [(row, row.figures) for row in rows if row.figures is not None]
    figure, axes = pyplot.subplots(figsize=(11, 1.6 + 0.32 * len(measured)), layout="constrained")
    places, left = range(len(measured)), [0.0] * len(measured)
    prompts = [each.prompt_token_s * TURN_PROMPT for _, each in measured]
    parts = (
        [each.answer_s for _, each in measured],
        prompts,
        [each.prompts_s - prompt for (_, each), prompt in zip(measured, prompts, strict=True)],
    )
    for seconds, colour, text in zip(parts, _COLOURS, _LEGEND, strict=True):
        axes.barh(places, seconds, left=left, color=colour, label=text)
        left = [before + more for before, more in zip(left, seconds, strict=True)]
    n_finals = sum(row.is_final for row, _ in measured)
    if 0 < n_finals < len(measured):
        axes.axhline(n_finals - 0.5, color="#999", linestyle=":")
    axes.set_yticks(places, [f"{row.label} (chosen)" if row.is_chosen else row.label for row, _ in measured])
    axes.invert_yaxis()
    axes.set_xlabel("seconds of a turn; above the dotted line: medians of the finals")
    axes.set_title(title, parse_math=False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise ConfigError(f"--plot: cannot write {path}: {error.strerror}", param="plot") from None
    finally:
        pyplot.close(figure)


def _pyplot() -> Any:
    try:
        importlib.import_module("matplotlib").use("Agg")  # needs no screen
        return importlib.import_module("matplotlib.pyplot")
    except ImportError:
        problem = '--plot needs matplotlib: install the extra `plot` (pip install "llmcore[plot]")'
        raise ConfigError(problem, param="plot") from None
