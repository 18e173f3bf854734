"""Python environments of peers, under build/: their packages must not meet ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

BUILD = Path(__file__).parent.parent / "build"


class PeerError(Exception):
    """A peer cannot be installed here, or does not support the model. The message is one line for a person."""


def peer_python(name: str, requirement: str, build: Path = BUILD) -> Path:
    """Returns the interpreter of a peer's environment; installs `requirement` there if it is missing. Raises PeerError."""
    folder = build / name
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists() or ready.read_text("utf-8") != requirement:
        print(f"installing {requirement}", file=sys.stderr, flush=True)
        output_of([sys.executable, "-m", "venv", folder])
        output_of([python, "-m", "pip", "--disable-pip-version-check", "install", "-qq", requirement])
        ready.write_text(requirement, "utf-8")
    return python


def output_of(command: Sequence[object], given: str = "") -> str:
    """Returns the output of a command; `given` is its input. Raises PeerError if it fails."""
    words = [str(each) for each in command]
    done = subprocess.run(words, check=False, capture_output=True, text=True, input=given)
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise PeerError(f"{words[0]} ended with status {done.returncode}: {' '.join(last)}")
    return done.stdout
