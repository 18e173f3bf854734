"""`python -m llmcore_app`."""

from __future__ import annotations

import subprocess
import sys


def test_it_is_the_command_serve() -> None:
    args = [sys.executable, "-m", "llmcore_app", "--help"]
    shown = subprocess.run(args, capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.startswith("usage: llmcore serve")
    assert "--api-keys-file" in shown
    assert "--model-path" in shown
