"""Rows and the table of a report."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from llmcore.startup.trial_result import Candidate, TrialResult
from llmcore.tuning.report import report_rows, report_table, spread
from tests.tuning.candidates import DEFAULT, changed, figures

FLASH = changed(flash_attn=True)
OTHER = changed(n_ubatch=128, threads=1)
LARGE = changed(cache_type_k="f32", cache_type_v="f32")


def result(stage: str, candidate: Candidate, seconds: float) -> TrialResult:
    return TrialResult(stage=stage, candidate=candidate, figures=figures(seconds))


RESULTS = [
    result("grid", DEFAULT, 1.0),
    result("grid", FLASH, 0.5),
    TrialResult(stage="grid", candidate=LARGE, problem="[too] large"),
    result("grid", OTHER, 0.1),
    result("grid", OTHER, 0.3),
    result("finals", DEFAULT, 1.2),
    result("finals", FLASH, 0.7),
    result("finals", FLASH, 0.6),
    result("finals", FLASH, 9.0),
]
ROWS = report_rows(RESULTS, DEFAULT, FLASH)


def test_finals_come_first_with_their_medians_and_failures_last() -> None:
    assert [row.label for row in ROWS] == ["flash", "default", "threads 1/8, batch 512/128", "KV f32/f32"]
    assert [row.figures and row.figures.decode_s for row in ROWS] == [0.7, 1.2, pytest.approx(0.2), None]
    assert [(row.is_final, row.is_chosen) for row in ROWS] == [
        (True, True),
        (True, False),
        (False, False),
        (False, False),
    ]
    assert ROWS[3].problem == "[too] large"


def test_the_table_has_rates_and_problems() -> None:
    screen = io.StringIO()
    Console(file=screen, width=132).print(report_table("[A] model", ROWS))
    shown = screen.getvalue()
    assert "[A] model" in shown
    assert "[too] large" in shown
    chosen = next(line for line in shown.splitlines() if "chosen" in line)
    assert [each.strip() for each in chosen.split("│")[1:-1]] == [
        *(
            "flash",
            f"{0.7 * (64 + 64 + 32):.3g}",
            f"{1 / 0.7:.4g}",
            f"{8 / 1.4:.4g}",
            f"{4 / 0.7:.4g}",
            f"{4 / 0.7:.4g}",
        ),
        "chosen",
    ]


def test_how_much_the_finals_of_one_candidate_differ() -> None:
    assert spread(RESULTS, FLASH) == pytest.approx(9.0 / 0.6 - 1)
    assert spread(RESULTS, DEFAULT) == 0.0, "one final says nothing"
    assert spread(RESULTS, OTHER) == 0.0, "nor do trials of the grid"
