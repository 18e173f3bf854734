"""A load that measures says so once: on a terminal, or in the log."""

from __future__ import annotations

import logging
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from llmcore.startup.first_load import FirstLoadNotice
from tests.llama.programs import ROOT, output_of
from tests.log_events import events

LOAD = """
import sys
from llmcore import LLM
for _ in range(2):
    LLM(sys.argv[1], n_ctx=1024, n_slots=2, threads=1, profile_dir=sys.argv[2]).close()
"""


def on_terminal(program: str, *arguments: object) -> str:
    """Text that a program writes to standard error if that is a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        with os.fdopen(theirs, "wb") as end:
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=end, timeout=120)
        try:
            return terminal.read(10_000).decode()
        except OSError:  # nothing was written
            return ""


def test_the_first_load_says_so_in_one_line_on_a_terminal(tiny_model: Path, tmp_path: Path) -> None:
    assert on_terminal(LOAD, tiny_model, tmp_path) == (
        "llmcore: measuring the model on this machine (only at its first load)\r\n"
    )
    assert on_terminal(LOAD, tiny_model, tmp_path) == ""


def test_nothing_is_written_to_a_file(tiny_model: Path, tmp_path: Path) -> None:
    assert output_of(LOAD, tiny_model, tmp_path) == ""


def test_a_program_with_logging_gets_a_log_line(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    notice = FirstLoadNotice("/m.gguf", is_kept=False)
    notice.say()
    notice.say()
    assert events(caplog, "first_load_measures") == [{"path": "/m.gguf", "is_kept": False}]
    assert capsys.readouterr().err == ""
