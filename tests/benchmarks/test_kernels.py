"""What benchmarks.kernels makes of measured steps: ratios, goals, the roofline, profiles; and a run on a tiny model."""

from __future__ import annotations

import json
import xml.etree.ElementTree
from pathlib import Path

import pytest

from benchmarks import kernel_figures, kernels, roofline, step_profile
from benchmarks.kernel_figures import FLASH, OPENVINO, OURS, PLAIN, Sizes, Turn
from benchmarks.limits import Limits, product_rate, read_rate
from benchmarks.roofline import Operation
from benchmarks.step_profile import Profile
from llmcore.gguf.header import read_header
from tests.tiny_models import write_tiny_deci

SIZES = Sizes()
LIMITS = Limits({1: 10e9, 2: 20e9}, {"fp32": 300e9, "bf16": 2000e9})


def turns_of(side: str, *all_seconds: dict[str, list[float]]) -> list[Turn]:
    return [Turn(side, seconds, 1.5, 110) for seconds in all_seconds]


def by_label(found: list[kernel_figures.Line]) -> dict[str, kernel_figures.Line]:
    return {f"{line.aim.figure}, {line.aim.peer}": line for line in found}


def test_the_peer_is_the_better_of_both_sides_and_of_both_buffers() -> None:
    turns = [
        *turns_of(OURS, {"rows own": [0.1]}, {"rows own": [0.2, 0.2, 9.9]}, {"rows own": [0.4]}),
        *turns_of(FLASH, {"rows own": [0.8], "rows own/split": [0.5]}),
        *turns_of(PLAIN, {"rows own": [0.9], "rows own/split": [0.4]}),
    ]
    line = by_label(kernel_figures.lines(turns, "1b", True, SIZES))["rows own, better"]
    assert (line.ours, line.default, line.plain, line.ratio) == (40.0, 16.0, 20.0, 2.0)
    assert (line.goal, line.verdict) == ("2 ×", "met")


def test_goals_depend_on_the_model_and_the_cpu() -> None:
    def ratios(model: str, has_amx: bool) -> dict[str, float]:
        return {f"{aim.figure}, {aim.peer}": aim.ratio for aim in kernel_figures.aims(model, has_amx, SIZES)}

    assert ratios("1b", True)["prefill deep, better"] == 3.5
    assert ratios("1b", False)["prefill deep, better"] == 1.0
    assert ratios("1b", False)["decode deep, better"] == 1.3
    assert ratios("default", True) == ratios("default", False)
    assert ratios("default", True)["decode middle, default"] == 2.0
    assert {value for name, value in ratios("default", True).items() if name.endswith("better")} == {1.0}
    assert set(ratios("some.gguf", True).values()) == {1.0}


def test_the_default_model_is_held_against_llama_cpps_default_at_depth() -> None:
    turns = [
        *turns_of(OURS, {"decode middle": [0.0050]}),
        *turns_of(FLASH, {"decode middle": [0.0100]}),
        *turns_of(PLAIN, {"decode middle": [0.00499]}),
    ]
    found = by_label(kernel_figures.lines(turns, "default", True, SIZES))
    assert found["decode middle, default"].verdict == "met"
    assert found["decode middle, default"].goal == "2 × the default"
    assert found["decode middle, better"].verdict == "met", "judged as it is shown: 1.00"
    assert found["decode, better"].verdict == "–"


def test_prefill_must_be_above_openvino_where_that_was_measured() -> None:
    turns = [*turns_of(OURS, {"prefill": [1.0]}), *turns_of(PLAIN, {"prefill": [3.0]})]

    def line_of(found: list[Turn]) -> kernel_figures.Line:
        return by_label(kernel_figures.lines(found, "1b", True, SIZES))["prefill, better"]

    assert line_of(turns).verdict == "met"
    assert line_of([*turns, *turns_of(OPENVINO, {"prefill": [1.1]})]).verdict == "met"
    behind = line_of([*turns, *turns_of(OPENVINO, {"prefill": [0.9]})])
    assert behind.verdict == "not met"
    head, _, row = kernel_figures.table([behind]).splitlines()
    assert head.count("|") == row.count("|") == len(kernel_figures.HEADS) + 1
    assert row.startswith("| prefill of 512 | 512 | – | 171 | 569 | 3.00 | 2.8 ×, above OpenVINO | **not met**")
    assert "OpenVINO GenAI" not in kernel_figures.table([line_of(turns)])


def test_roofline_of_a_model(tiny_model: Path) -> None:
    header = read_header(tiny_model)
    what = {each.figure: each for each in roofline.operations(header, SIZES)}
    assert what["rows"].n_bytes == what["decode"].n_bytes
    assert what["rows"].flops == 8 * what["decode"].flops
    assert what["rows own"].n_bytes == 8 * what["rows prefix"].n_bytes
    assert what["prefill deep"].flops == 512 * what["decode deep"].flops
    # Two layers of width 64: of every cell keys and values are read, in f16.
    n_kv_head, n_head = (header.number(f"llama.attention.head_count{suffix}") for suffix in ("_kv", ""))
    assert what["decode deep"].n_bytes == 2048 * 2 * 2 * 2 * 64 * n_kv_head // n_head


def test_roofline_of_layers_with_heads_of_their_own(tmp_path: Path) -> None:
    """Two layers of width 64 with half as many heads of keys and values, and one without attention."""
    header = read_header(write_tiny_deci(tmp_path / "x.gguf"))
    what = {each.figure: each for each in roofline.operations(header, SIZES)}
    assert what["decode deep"].n_bytes == 2048 * 2 * 2 * 32 * 2
    assert what["decode deep"].flops == 2048 * 4 * 2 * 64


def test_attentionis_what_a_step_at_depth_takes_more() -> None:
    weights = Operation("weights", "decode", "", 1e9, 1e9)
    attention = Operation("attention <1 row>", "decode deep", "decode", 1e9, 20e6)
    turns = [
        *turns_of(OURS, {"decode": [0.1], "decode deep": [0.103]}),
        *turns_of(FLASH, {"decode": [0.2], "decode deep": [0.3]}),
        *turns_of(PLAIN, {"decode": [0.3], "decode deep": [0.31]}),
    ]
    found = roofline.points(turns, [weights, attention])
    seconds = {(each.operation.figure, each.side): each.seconds for each in found}
    assert seconds == pytest.approx(
        {
            ("decode", "ours"): 0.1,
            ("decode", "llama.cpp"): 0.2,
            ("decode deep", "ours"): 0.003,
            ("decode deep", "llama.cpp"): 0.1,  # of the side that takes the whole step fastest
        }
    )
    assert not roofline.points(turns_of(OURS, {"decode": [0.1], "decode deep": [0.101]}), [attention]), "noise"
    assert "| weights | 1 | memory | 50.0 | 100.0, 50% | 200.0, 25% |" in roofline.table(found, LIMITS)
    drawing = roofline.svg("a & b", found, LIMITS)
    assert drawing.count("<circle") == len(found) + 2
    assert xml.etree.ElementTree.fromstring(drawing).tag.endswith("svg")


def test_limits_are_told_and_measured() -> None:
    assert "10.0 GB/s (1 thread), 20.0 GB/s (2 threads)" in roofline.told(LIMITS)
    assert "bf16 2,000 GFLOP/s" in roofline.told(LIMITS)
    assert (LIMITS.most_bytes_per_s, LIMITS.most_flops_per_s) == (20e9, 2000e9)
    better = LIMITS.or_better(Limits({1: 11e9, 2: 9e9}, {"fp32": 400e9, "bf16": 1.0}))
    assert better == Limits({1: 11e9, 2: 20e9}, {"fp32": 400e9, "bf16": 2000e9})
    assert read_rate(2, 1 << 20) > 1e6
    assert product_rate(64) > 1e3


def test_a_profile_names_what_is_left() -> None:
    decode = Profile("one row", 0.010, {"MUL_MAT w4": (10, 0.006), "FLASH_ATTN_EXT": (2, 0.003)})
    prefill = Profile("a chunk", 0.100, {"MUL_MAT w4": (10, 0.080)})
    rows = step_profile.table([decode, prefill]).splitlines()
    assert rows[2] == "| MUL_MAT w4 | 10, 6.00, 60% | 10, 80.00, 80% |"
    assert rows[3] == "| FLASH_ATTN_EXT | 2, 3.00, 30% | – |"
    assert rows[4] == f"| {step_profile.REST} | –, 1.00, 10% | –, 20.00, 20% |"
    assert rows[5] == "| the step | 10.00 ms | 100.00 ms |"


def test_kernels_measures_every_figure_in_processes_of_their_own(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", str(tiny_model), "--sides", "flash,plain", "--turns", "1", "--threads", "1", "--scale", "0.1"]
    assert kernels.main([*flags, "--plots", str(tmp_path), "--json", str(tmp_path / "found.json")]) == 0
    out = capsys.readouterr().out
    assert "no measurement" in out
    figures = kernel_figures.figures(Sizes(0.1))
    rows = [line.split(" | ") for line in out.splitlines() if line.endswith("not slower | – |")]
    assert [row[0].strip("| ") for row in rows] == [figure.label for figure in figures]
    assert all(float(cell) > 0 for row in rows for cell in row[2:4])
    assert "flash " in out.partition("Loading, and the resident memory that it added: ")[2]
    assert (tmp_path / f"roofline-{tiny_model.stem}.svg").exists()
    [found] = json.loads((tmp_path / "found.json").read_text())["models"]
    assert [turn["side"] for turn in found["turns"]] == ["flash", "plain"]


def test_what_kernels_cannot_measure(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flags = ["--model", str(tmp_path / "none.gguf"), "--sides", "flash", "--turns", "1"]
    assert kernels.main(flags) == 1
    assert "none.gguf" in capfd.readouterr().err
    with pytest.raises(SystemExit):
        kernels.main(["--sides", "nobody"])
