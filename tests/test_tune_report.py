"""Rows and plots of a tuning."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from llmcore.errors import ConfigError
from llmcore.trials import Candidate, Figures, Trial
from llmcore.tune_plot import check_plot_path, svg, write_plot
from llmcore.tune_report import report_rows, unsteadiness

DEFAULT = Candidate(
    threads=2,
    threads_batch=2,
    n_batch=512,
    n_ubatch=512,
    blas=False,
    flash_attn=False,
    cache_type_k="f16",
    cache_type_v="f16",
)
FLASH = msgspec.structs.replace(DEFAULT, flash_attn=True)
BLAS = msgspec.structs.replace(DEFAULT, blas=True, n_ubatch=128, threads=1)
LARGE = msgspec.structs.replace(DEFAULT, cache_type_k="f32", cache_type_v="f32")


def trial(stage: str, candidate: Candidate, seconds: float | None) -> Trial:
    if seconds is None:
        return Trial(stage=stage, candidate=candidate, problem="too large")
    cold_s = seconds / 5 if stage == "finals" else None
    figures = Figures(
        n_cells=2048, decode_s=seconds, n_rows=8, rows_s=2 * seconds, prompt_token_s=seconds / 4, cold_token_s=cold_s
    )
    return Trial(stage=stage, candidate=candidate, figures=figures)


TRIALS = [
    trial("default", DEFAULT, 1.0),
    trial("attention", FLASH, 0.5),
    trial("attention", LARGE, None),
    trial("blas", BLAS, 0.1),
    trial("finals", DEFAULT, 1.2),
    trial("finals", FLASH, 0.7),
    trial("finals", FLASH, 0.6),
    trial("finals", FLASH, 9.0),
]


def test_finals_come_first_with_their_medians_and_failures_last() -> None:
    rows = report_rows(TRIALS, DEFAULT, FLASH)
    assert [row.label for row in rows] == ["flash", "default", "threads 1/2, batch 512/128, BLAS", "KV f32/f32"]
    first = rows[0]
    assert first.figures is not None
    assert (first.figures.decode_s, first.is_final, first.is_chosen, first.is_default) == (0.7, True, True, False)
    assert first.segments_s == pytest.approx((64 * 0.7, 256 * 0.7 / 4, 128 * 0.7 / 5))
    assert first.total_s == pytest.approx(first.figures.score_s)
    assert rows[1].is_default
    assert rows[2].segments_s[2] == 0.0, "a long prompt was not measured"
    assert (rows[3].figures, rows[3].problem, rows[3].total_s) == (None, "too large", 0.0)


def test_how_much_the_finals_of_one_candidate_differ() -> None:
    assert unsteadiness(TRIALS, FLASH) == pytest.approx(9.0 / 0.6 - 1)
    assert unsteadiness(TRIALS, DEFAULT) == 0.0, "one final says nothing"
    assert unsteadiness(TRIALS, BLAS) == 0.0, "nor do other stages"


def test_the_svg_is_a_bar_for_each_row() -> None:
    document = ElementTree.fromstring(svg("A <model> & a CPU", report_rows(TRIALS, DEFAULT, FLASH)[:3]))
    space = "{http://www.w3.org/2000/svg}"
    texts = [each.text for each in document.iter(f"{space}text")]
    assert "A <model> & a CPU" in texts
    assert "flash (chosen)" in texts
    assert "default" in texts
    bars = [each for each in document.iter(f"{space}rect") if each.get("height") == "16"]
    assert len(bars) == 9
    widest = max(sum(float(each.get("width", 0)) for each in bars[i : i + 3]) for i in (0, 3, 6))
    assert widest == pytest.approx(440, abs=0.2), "the longest fills the space"
    assert len(list(document.iter(f"{space}line"))) == 1, "between the finals and the rest"


def test_a_plot_of_nothing_is_still_a_document() -> None:
    assert ElementTree.fromstring(svg("nothing", [])).get("width")


def test_a_plot_is_written(tmp_path: Path) -> None:
    write_plot(tmp_path / "plot.svg", "title", report_rows(TRIALS, DEFAULT, None))
    assert (tmp_path / "plot.svg").read_text().count("<rect") == 4 + 9
    with pytest.raises(ConfigError, match="cannot write"):
        write_plot(tmp_path / "none" / "plot.svg", "title", [])


def test_what_cannot_be_drawn_is_said_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_plot_path(tmp_path / "a.svg")
    with pytest.raises(ConfigError, match=r"must end in \.svg or \.png"):
        check_plot_path(tmp_path / "a.jpg")
    with pytest.raises(ConfigError, match="there is no folder"):
        check_plot_path(tmp_path / "none" / "a.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="the extra `plot`"):
        check_plot_path(tmp_path / "a.png")


def test_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="PNG needs the extra `plot`")
    write_plot(tmp_path / "plot.png", "title", report_rows(TRIALS, DEFAULT, FLASH))
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
