"""benchmarks.scaling: the plan for numbers of callers, computed from the figures of docs/BENCHMARKS.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report, scaling
from benchmarks.scaling import Rates, Turn, documented, measured_rates, n_replicas, tables


def test_a_turn_is_its_prompt_and_its_answer() -> None:
    turn = Turn(Rates(prefill=100, cold=200, alone=10, together=40))
    assert (turn.prompt_s, turn.answer_s, turn.alone_s) == (1.0, 4.0, 5.0)
    assert (turn.together_s, turn.cold_s, turn.first_token_s) == (2.0, 8.0, 2.0)


@pytest.mark.parametrize(("callers", "turn_s", "expected"), [(10, 1.0, 1), (10, 1.01, 2), (1000, 3.0, 300)])
def test_replicas_are_half_busy_and_whole(callers: int, turn_s: float, expected: int) -> None:
    assert n_replicas(callers, turn_s) == expected


def test_the_figures_of_the_benchmarks_are_found() -> None:
    columns = documented(report.DOCS.read_text("utf-8"))
    assert all(each.together > each.alone for each in columns.values())


def test_a_figure_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"prefill of 512 at depth 2,048.*section kernels"):
        measured_rates("nothing", "kernels", "a model")


def test_the_document_has_what_the_figures_give() -> None:
    """After new figures of the kernels: python -m benchmarks.scaling --write-docs."""
    table = tables(documented(report.DOCS.read_text("utf-8")))
    assert table in scaling.SCALING.read_text("utf-8")


def test_the_table_is_put_into_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = tmp_path / "SCALING.md"
    docs.write_text("before <!-- scaling:begin --> old <!-- scaling:end --> after", "utf-8")
    assert scaling.main(["--write-docs"], docs) == 0
    text = docs.read_text("utf-8")
    assert "1,000 callers: replicas" in text
    assert text.startswith("before")
    assert text.endswith("after")
    assert "old" not in text
    assert capsys.readouterr().out.strip() in text


def test_rates_of_your_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert scaling.main(["--rates", "100,100,10,10"]) == 0
    assert "| 1,000 callers: replicas | 500 |" in capsys.readouterr().out


@pytest.mark.parametrize("rates", ["1,2,3", "1,2,3,0", "a,b,c,d"])
def test_rates_that_do_not_fit(rates: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert scaling.main(["--rates", rates]) == 1
    assert "benchmarks.scaling:" in capsys.readouterr().err
