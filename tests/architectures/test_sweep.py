"""The sweep itself: findings of a case, their judgement, and the table in the documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architectures.findings import Ended, Findings, read_findings
from tests.architectures.names import architecture_names
from tests.architectures.sweep import TYPES, run_case
from tests.architectures.table import BEGIN, DOCUMENT, END, document_with, part


def finding(**details: object) -> Findings:
    found = Findings("llama", "Q8_0", kernels="avx2", kind="full", cuttable=True, sliceable=True, has_flash=True)
    found.take({"errors": {"ggml": [0.01, 0.02], "ours": [0.01, 0.02]}, "continued": {"fork": 0.0, "cut": 0.0}})
    found.take({"engine": {"two": 0.0, "prefix": 0.0, "cached": 14}, **details})
    return found


def test_a_case_computes_in_a_process_of_its_own(tmp_path: Path) -> None:
    found = run_case("mamba", "Q8_0", tmp_path)
    assert (found.absent, found.faults, found.kind, found.types) == ("", [], "recurrent", ["F16", "F32", "Q8_0"])
    assert set(found.errors) >= {"ggml", "ours"}
    assert set(found.continued) >= {"fork", "state", "cut"}
    assert found.continued["cut"] is None
    assert set(found.engine) == {"two", "prefix", "cached"}
    found.write(tmp_path)
    assert read_findings(tmp_path / "mamba-Q8_0.json") == found


def test_an_encoder_gives_vectors(tmp_path: Path) -> None:
    found = run_case("bert", "Q8_0", tmp_path)
    assert (found.absent, found.faults, found.kind) == ("", [], "encoder")
    assert 0 < max(found.errors["ours"]) < 0.02


def test_a_refusal_is_a_finding(tmp_path: Path) -> None:
    found = run_case("t5", "F32", tmp_path)
    assert "encoder-decoder" in found.absent
    assert "unknown model architecture" in run_case("lxama", "F32", tmp_path).absent


def test_a_process_that_ends_is_a_finding(tmp_path: Path) -> None:
    found = run_case("llama", "F32", tmp_path / "missing")
    assert [(each.stage, each.how) for each in found.ended] == [("make", "exit status 1")]
    assert "No such file" in found.absent


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"errors": {"ours": [0.01, 0.05]}}, "logits (ours): 0.05, at most 0.04"),
        ({"errors": {"ours_flash": [float("inf")]}}, "logits (ours_flash): inf"),
        ({"continued": {"fork": 0.5}}, "fork: 0.5"),
        ({"continued": {"cut": None}}, "cut: refused, though"),
        ({"engine": {"prefix": 0.2}}, "answers (prefix) are 0.2 apart"),
        ({"events": ["kernels_off"]}, "logged kernels_off"),
        ({"copies": True}, "unpacked for ggml"),
        ({"refused": ["fork", "NativeError", "no cells"]}, "fork: NativeError: no cells"),
        ({"ended": [Ended("engine", "SIGABRT", "assertion")]}, "SIGABRT in stage engine: assertion"),
    ],
)
def test_faults(details: dict[str, object], said: str) -> None:
    assert finding().faults == []
    [fault] = finding(**details).faults
    assert fault.startswith(said) or fault.endswith(said)


def test_an_end_of_llama_cpp_alone_is_no_fault_of_ours() -> None:
    plain, theirs, ours = (Ended(stage, "SIGSEGV", "") for stage in ("plain", "ggml", "ours"))
    assert finding(ended=[theirs]).faults == []
    assert finding(ended=[theirs]).absent == ""
    assert finding(ended=[plain, theirs, ours]).absent == "SIGSEGV in llama.cpp alone: "
    assert finding(ended=[plain, theirs, ours]).faults == []
    assert finding(ended=[ours]).faults == ["SIGSEGV in stage ours: "]


def test_the_table() -> None:
    bad = finding(errors={"ours": [0.5]})
    aborts = Findings(
        "t5",
        "Q8_0",
        ended=[
            Ended(
                "make",
                "SIGABRT",
                "2026Z critical llmcore.native native code aborts: /x/ggml.c:1: GGML_ASSERT(a | b) failed",
            )
        ],
    )
    told = part(
        [bad, aborts, Findings("t5", "F32", refused=["load", "ModelKindError", "no"])], ["llama", "t5"], "Here."
    )
    assert "| llama | full | – | 0.5 (0.02) | – | 0 % | yes | yes | anywhere | yes | see below |" in told
    assert "| t5 | Q8_0 | SIGABRT in stage make: ggml.c:1: GGML_ASSERT(a \\| b) failed |" in told
    assert "| t5 | F32 | refused at load: no |" in told
    assert "logits (ours): 0.5" in told.partition("### Known not to work")[2]
    assert document_with(f"a\n{BEGIN}\nold\n{END}\nb", "new") == f"a\n{BEGIN}\n\nnew\n\n{END}\nb"


def test_the_document_names_every_architecture() -> None:
    text = DOCUMENT.read_text("utf-8")
    swept = text.partition(BEGIN)[2].partition(END)[0]
    assert [name for name in architecture_names() if f"\n| {name} |" not in swept] == []
    assert all(f"| {quant} |" in swept for quant in TYPES)
