"""OpenVINO GenAI on the same GGUF file, in a separate Python environment under build/."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.kernel_figures import OPENVINO, Sizes, Turn

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "openvino"
REQUIREMENT = "openvino-genai==2026.4.1.0"
_READY = FOLDER / ".ready"


class OpenVinoError(Exception):
    """OpenVINO cannot be installed here, or does not support the model. The message is one line for a person."""


def environment() -> Path:
    """Returns the interpreter that has the package; installs it if it is missing (300 MB). Raises OpenVinoError."""
    python = FOLDER / "bin" / "python"
    if not _READY.exists() or _READY.read_text("utf-8") != REQUIREMENT:
        print(f"installing {REQUIREMENT}", file=sys.stderr, flush=True)
        _run([sys.executable, "-m", "venv", str(FOLDER)])
        _run([str(python), "-m", "pip", "--disable-pip-version-check", "install", "-qq", REQUIREMENT])
        _READY.write_text(REQUIREMENT, "utf-8")
    return python


def figures(sizes: Sizes) -> dict[str, tuple[int, int, int]]:
    """Returns the figures as numbers of rows, and tokens of a prompt and of an answer."""
    return {
        "prefill": (1, sizes.chunk, 0),
        "prefill long": (1, sizes.deep, 0),
        "decode": (1, 1, 16),
        "decode deep": (1, sizes.deep, 8),
        "rows": (sizes.n_rows, sizes.short, 16),
    }


def turn(path: Path, threads: int, sizes: Sizes) -> Turn:
    """Measures in one child process. Raises OpenVinoError."""
    child = Path(__file__).with_name("openvino_child.py")
    # -I: its packages must not import the modules beside the script.
    out = _run([str(environment()), "-I", str(child), str(path), str(threads), json.dumps(figures(sizes))])
    told = json.loads(out.splitlines()[-1])
    return Turn(OPENVINO, told["seconds"], told["load_s"])


def _run(command: list[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise OpenVinoError(f"{command[0]} ended with status {done.returncode}: {' '.join(last)}")
    return done.stdout
