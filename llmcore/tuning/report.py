"""Report of a tuning: one row for each candidate, and a table of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from llmcore.startup.trial_result import Candidate, Figures, TrialResult, median_figures


@dataclass(frozen=True)
class ReportRow:
    """One candidate. `figures` are medians of its finals, else of its grid trials, else None for the reason in `problem`."""

    label: str
    figures: Figures | None
    is_final: bool
    is_chosen: bool
    problem: str = ""


def report_rows(results: Sequence[TrialResult], default: Candidate, chosen: Candidate | None) -> list[ReportRow]:
    """Returns rows by score: finals first, then the rest of the grid, then candidates without figures."""
    rows = []
    for candidate in dict.fromkeys(each.candidate for each in results):
        own = [each for each in results if each.candidate == candidate]
        finals = [each for each in own if each.stage == "finals"]
        measured = [each.figures for each in finals or own if each.figures is not None]
        rows.append(
            ReportRow(
                label=candidate.difference(default) or "default",
                figures=median_figures(measured) if measured else None,
                is_final=bool(finals),
                is_chosen=candidate == chosen,
                problem="" if measured else own[-1].problem,
            )
        )
    return sorted(rows, key=_order)


def _order(row: ReportRow) -> tuple[bool, bool, float]:
    if row.figures is None:
        return True, True, 0.0
    return False, not row.is_final, row.figures.score_s


def report_table(title: str, rows: Sequence[ReportRow]) -> Table:
    table = Table(
        title=Text(title), caption="tok/s; prompt, decode and rows over full caches; first prompt into an empty one"
    )
    for name in ("settings", "score, s", "decode", "rows", "prompt", "first prompt", ""):
        table.add_column(name, justify="left" if name in ("settings", "") else "right", no_wrap=name == "settings")
    for row in rows:
        figures = row.figures
        if figures is None:
            table.add_row(row.label, *["-"] * 5, Text(row.problem))
            continue
        seconds = (figures.decode_s, figures.rows_s / figures.n_rows, figures.prompt_token_s, figures.cold_token_s)
        note = "chosen" if row.is_chosen else "finals" if row.is_final else ""
        cells = (f"{figures.score_s:.3g}", *(f"{1 / each:.4g}" for each in seconds), note)
        table.add_row(row.label, *cells, style="bold" if row.is_chosen else None)
    return table


def spread(results: Sequence[TrialResult], candidate: Candidate) -> float:
    """Part by which the slowest final of a candidate exceeds its fastest, a sign of other work on the machine; 0 for fewer than
    two finals."""
    scores = [t.figures.score_s for t in results if t.stage == "finals" and t.candidate == candidate and t.figures]
    return max(scores) / min(scores) - 1 if len(scores) > 1 else 0.0
