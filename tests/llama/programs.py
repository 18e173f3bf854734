"""Programs that tests run in a process of their own, which may crash or hang."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 120.0


def run_program(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A program, from the project's folder. A hang is a TimeoutExpired."""
    command = [sys.executable, "-X", "faulthandler", "-W", "error", "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)


def output_of(program: str, *arguments: object) -> str:
    """Returns the output of a program; it must end well and complain of nothing."""
    done = run_program(program, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout
