"""OpenVINO GenAI on the same GGUF file, in a separate Python environment under build/ (300 MB)."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.kernel_figures import OPENVINO, Sizes, Turn
from benchmarks.peer_environment import output_of, peer_python

REQUIREMENT = "openvino-genai==2026.4.1.0"


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
    """Measures in one child process. Raises PeerError."""
    child = Path(__file__).with_name("openvino_child.py")
    # -I: its packages must not import the modules beside the script.
    command = (peer_python("openvino", REQUIREMENT), "-I", child, path, threads, json.dumps(figures(sizes)))
    told = json.loads(output_of(command).splitlines()[-1])
    return Turn(OPENVINO, told["seconds"], told["load_s"])
