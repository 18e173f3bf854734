"""`python -m llmcore`."""

from __future__ import annotations

import subprocess
import sys


def test_the_module_is_the_command() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "llmcore", "pull", "--help"], capture_output=True, text=True, check=True
    )
    assert "usage: llmcore pull" in run.stdout
    wrong = subprocess.run([sys.executable, "-m", "llmcore", "nonsense"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
