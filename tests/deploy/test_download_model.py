"""deploy/download_model.py, run as the image runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hub_stand_in import HubStandIn, connect, running

SCRIPT = Path(__file__).parent.parent.parent / "deploy" / "download_model.py"


def run(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *args],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("args", [(), ("owner/name",)], ids=["MODEL_NAME", "argument"])
def test_a_model_into_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]) -> None:
    with running(HubStandIn({"m.gguf": b"GGUF"})) as hub:
        connect(hub, monkeypatch, tmp_path)
        name = "owner/name" if not args else "another-name"
        done = run(*args, MODEL_NAME=name, MODEL_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path}/owner/name/m.gguf\n"


def test_options_pass_through(tmp_path: Path) -> None:
    done = run("--list", MODEL_NAME="qwen3-0.6b", MODEL_DIR=str(tmp_path))
    assert done.returncode == 0
    assert "llama-3.1-8b-instruct  " in done.stdout


def test_a_failure_is_one_line_and_a_status(tmp_path: Path) -> None:
    done = run(MODEL_NAME="gpt-5", MODEL_DIR=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("llmcore: unknown model 'gpt-5'; known models: ")
    assert len(done.stderr.splitlines()) == 1
