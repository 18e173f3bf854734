"""llama.cpp's own programs, built from the same source with the same flags, as the peers of comparisons.

They are built without BLAS: a program that links it always uses it, which halves prefill where ggml has good kernels. Our own
default is off as well, so both sides run the same kernels.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "peers"


def peer(name: str) -> Path:
    """Returns the path of `llama-bench`, `llama-server`, …; builds all of them if one is missing, which takes minutes."""
    program = BUILD / "bin" / name
    if not program.exists():
        build()
    return program


def build() -> None:
    """Configures and builds all peers."""
    print("building llama.cpp's own programs", file=sys.stderr, flush=True)
    tools = Path(sys.executable).parent
    configure: list[str | Path] = [
        tools / "cmake",
        "-S",
        ROOT,
        "-B",
        BUILD,
        "-G",
        "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}",
    ]
    options = [f"-DPython_EXECUTABLE={sys.executable}", "-DLLMCORE_BUILD_PEERS=ON", "-DLLMCORE_BLAS=off"]
    subprocess.run([*configure, *options], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([tools / "cmake", "--build", BUILD], check=True, stdout=subprocess.DEVNULL)
