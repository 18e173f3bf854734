"""The programs of examples/, each run as a user runs it: it ends well, complains of nothing, and prints what it is about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
LINES_MAX = 40

# A text that each program prints, whatever the model answers.
SHOWN = {
    "asynchronous.py": "\n",
    "chat_loop.py": "> ",
    "embeddings.py": "The train to the coast takes two hours.",
    "first_answer.py": "tokens read",
    "lists.py": "Peru: ",
    "low_level.py": "cells of slot 0: (0, ",
    "score.py": "perplexity ",
    "stream.py": "FinishedEvent(",
    "structured.py": " stars, ",
    "tools.py": "get_weather({",
}


def test_there_are_ten() -> None:
    assert sorted(SHOWN) == EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, pulled_model: Path) -> None:
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name)]
    done = subprocess.run(command, input="Hello!\nAnd you?\n\n", capture_output=True, text=True, timeout=240, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert SHOWN[name] in done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short(name: str) -> None:
    assert len((ROOT / "examples" / name).read_text("utf-8").splitlines()) <= LINES_MAX
