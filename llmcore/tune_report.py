"""What was measured, in rows for people: one for each candidate, the finals first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from llmcore.trials import CALL_TURNS, COLD_PROMPT, TURN_ANSWER, TURN_PROMPT, Candidate, Figures, Trial


@dataclass(frozen=True)
class ReportRow:
    """One candidate: medians of its finals, or what was last measured of it; None if nothing could be, which `problem`
    explains."""

    candidate: Candidate
    label: str
    figures: Figures | None
    is_final: bool
    is_default: bool
    is_chosen: bool
    problem: str = ""

    @property
    def segments_s(self) -> tuple[float, float, float]:
        """What the score consists of, in seconds: answer, prompt, share of a call's long prompt (0 if not measured)."""
        if self.figures is None:
            return 0.0, 0.0, 0.0
        cold_s = (self.figures.cold_token_s or 0.0) * COLD_PROMPT / CALL_TURNS
        return self.figures.decode_s * TURN_ANSWER, self.figures.prompt_token_s * TURN_PROMPT, cold_s

    @property
    def total_s(self) -> float:
        return sum(self.segments_s)


def report_rows(trials: Sequence[Trial], default: Candidate, chosen: Candidate | None) -> list[ReportRow]:
    """Finals first, those of the least score first; then the others, by their turn; then what could not be measured."""
    rows = []
    for candidate in dict.fromkeys(trial.candidate for trial in trials):
        own = [trial for trial in trials if trial.candidate == candidate]
        finals = [trial for trial in own if trial.stage == "finals"]
        measured = [trial.figures for trial in (finals or own[-1:]) if trial.figures is not None]
        rows.append(
            ReportRow(
                candidate=candidate,
                label=candidate.difference(default) or "default",
                figures=_medians(measured) if measured else None,
                is_final=bool(finals),
                is_default=candidate == default,
                is_chosen=candidate == chosen,
                problem="" if measured else own[-1].problem,
            )
        )
    return sorted(rows, key=_order)


def _order(row: ReportRow) -> tuple[bool, bool, float]:
    if row.figures is None:
        return True, True, 0.0
    return False, not row.is_final, row.figures.score_s if row.is_final else row.figures.turn_s


def _medians(measured: Sequence[Figures]) -> Figures:
    cold = [each.cold_token_s for each in measured if each.cold_token_s is not None]
    return Figures(
        n_cells=measured[0].n_cells,
        decode_s=median(each.decode_s for each in measured),
        n_rows=measured[0].n_rows,
        rows_s=median(each.rows_s for each in measured),
        prompt_token_s=median(each.prompt_token_s for each in measured),
        cold_token_s=median(cold) if cold else None,
        waited=median(each.waited for each in measured),
    )


def unsteadiness(trials: Sequence[Trial], candidate: Candidate) -> float:
    """By which part the slowest final of a candidate exceeds its fastest: what the machine's other work adds. 0 where there are
    not two."""
    scores = [t.figures.score_s for t in trials if t.stage == "finals" and t.candidate == candidate and t.figures]
    return max(scores) / min(scores) - 1 if len(scores) > 1 else 0.0
