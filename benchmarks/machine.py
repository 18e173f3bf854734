"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

# What changes which kernels run.
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "asimddp", "i8mm", "sve")


def machine() -> str:
    """One line: CPU model, cores in the affinity mask, and the instruction sets that matter."""
    model, flags = platform.processor() or platform.machine(), set[str]()
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = set(value.split())
    found = [feature for feature in _FEATURES if feature in flags]
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {' '.join(found)}"
