"""Environments of peers: made once for a requirement; a failure is told in a line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import peer_environment
from benchmarks.peer_environment import PeerError, output_of, peer_python


def test_an_environment_is_made_once_for_a_requirement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def record(command: Sequence[object]) -> str:
        commands.append([str(each) for each in command])
        (tmp_path / "peer").mkdir(exist_ok=True)
        return ""

    monkeypatch.setattr(peer_environment, "output_of", record)
    python = tmp_path / "peer" / "bin" / "python"
    assert [peer_python("peer", each, tmp_path) for each in ("a==1", "a==1", "a==2")] == [python] * 3
    assert [command[-1] for command in commands] == [str(tmp_path / "peer"), "a==1", str(tmp_path / "peer"), "a==2"]


def test_outputs_and_failures() -> None:
    assert output_of([sys.executable, "-c", "print(input())"], "a") == "a\n"
    with pytest.raises(PeerError, match="status 1: ZeroDivisionError: division by zero"):
        output_of([sys.executable, "-c", "1 / 0"])
