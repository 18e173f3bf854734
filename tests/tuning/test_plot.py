"""The plot of a report."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from llmcore.errors import ConfigError
from llmcore.startup.trial_result import TrialResult
from llmcore.tuning.plot import check_plot_path, write_plot
from llmcore.tuning.report import report_rows
from tests.tuning.candidates import DEFAULT, changed, figures

FLASH = changed(flash_attn=True)
ROWS = report_rows(
    [
        TrialResult(stage="grid", candidate=changed(n_ubatch=128), figures=figures(0.3)),
        TrialResult(stage="grid", candidate=changed(threads=1), problem="[too] large"),
        TrialResult(stage="finals", candidate=DEFAULT, figures=figures(1.2)),
        TrialResult(stage="finals", candidate=FLASH, figures=figures(0.7)),
    ],
    DEFAULT,
    FLASH,
)


def test_a_plot_that_cannot_be_drawn_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.svg or \.png"):
        check_plot_path(tmp_path / "a.jpg")
    with pytest.raises(ConfigError, match="there is no folder"):
        check_plot_path(tmp_path / "none" / "a.svg")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match="the extra `plot`"):
        check_plot_path(tmp_path / "a.svg")


def test_a_plot_is_written_by_suffix(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need the extra `plot`")
    check_plot_path(tmp_path / "plot.png")
    write_plot(tmp_path / "plot.png", "A $model & a CPU", ROWS)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    write_plot(tmp_path / "plot.svg", "A $model & a CPU", ROWS)
    assert ElementTree.fromstring((tmp_path / "plot.svg").read_text()).tag == "{http://www.w3.org/2000/svg}svg"
    with pytest.raises(ConfigError, match="cannot write"):
        write_plot(tmp_path / "none" / "plot.svg", "title", [])
