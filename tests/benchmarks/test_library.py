"""benchmarks.library: its sides on a tiny model, with a stand-in for the peer, and its table."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks import library, llama_cpp_python_child, report
from benchmarks.library import AS_LIST, ONE_BY_ONE, PEER, Run, Subject
from benchmarks.peer_environment import PeerError


@pytest.fixture
def subject(tiny_model: Path) -> Subject:
    return Subject(tiny_model, n_chats=3, n_answer=4, threads=2)


def test_both_of_our_sides_answer_the_same_prompts(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "N_CTX", 512)
    monkeypatch.setattr(library, "peer", lambda subject, prompts: Run(9.0, 12))
    found = library.measure(subject, turns=2)
    assert {name: len(runs) for name, runs in found.items()} == {ONE_BY_ONE: 2, AS_LIST: 2, PEER: 2}
    assert 0 < found[ONE_BY_ONE][0].n_tokens == found[AS_LIST][0].n_tokens <= 12
    assert all(run.seconds > 0 for runs in found.values() for run in runs)


def test_a_peer_that_cannot_be_installed_is_left_out(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: Any) -> Run:
        raise PeerError("pip ended with status 1")

    monkeypatch.setattr(library, "peer", missing)
    monkeypatch.setattr(library, "ours", lambda subject, prompts, is_list: Run(1.0, 12))
    assert list(library.measure(subject, turns=2)) == [ONE_BY_ONE, AS_LIST]
    assert capsys.readouterr().err.count("without llama-cpp-python: pip ended") == 1


def test_the_table_has_medians_and_factors(subject: Subject) -> None:
    found = {ONE_BY_ONE: [Run(4.0, 64), Run(6.0, 64)], AS_LIST: [Run(2.0, 64)], PEER: [Run(8.0, 60)]}
    lines = library.rows(subject, found)
    assert [line[2] for line in lines] == ["5.00 (4.00 to 6.00)", "2.00 (2.00 to 2.00)", "8.00 (8.00 to 8.00)"]
    assert [line[5] for line in lines] == ["2.50 ×", "", "4.00 × (goal 3 ×)"]
    text = library.markdown(lines, argparse.Namespace(chats=3, answer=4, threads=2, turns=2))
    assert "3 chats of at most 4 tokens, 2 threads, 2 turns" in text
    assert report.replace_section(report.DOCS.read_text("utf-8"), library.SECTION, text).count(text) == 1


def test_the_peers_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Any] = []

    class Llama:
        def __init__(self, path: str, **options: Any) -> None:
            assert (path, options["n_threads"], options["n_ctx"]) == ("m.gguf", 2, 512)

        def create_completion(self, prompt: list[int], *, max_tokens: int, temperature: float) -> dict[str, Any]:
            asked.append((prompt, max_tokens))
            return {"usage": {"completion_tokens": max_tokens}}

        def reset(self) -> None:
            asked.clear()

    module: Any = ModuleType("llama_cpp")
    module.Llama = Llama
    monkeypatch.setitem(sys.modules, "llama_cpp", module)
    monkeypatch.setattr(sys, "argv", ["child", "m.gguf", "2", "512", "7"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("[[1, 2], [3]]"))
    llama_cpp_python_child.main()
    assert asked == [([1, 2], 7), ([3], 7)]
    assert json.loads(capsys.readouterr().out)["n_tokens"] == 14
