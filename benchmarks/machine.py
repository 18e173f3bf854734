"""The machine that figures are measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from llmcore.machine.cpufeatures import cpu_features

# Instruction sets that change which kernels run.
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "asimddp", "i8mm", "sve")


def machine() -> str:
    """Line with the CPU model, the cores in the affinity mask, and the instruction sets that matter."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {' '.join(features())}"


def features() -> list[str]:
    """Instruction sets that matter, by the kernel's words."""
    found = cpu_features() or frozenset()
    return [feature for feature in _FEATURES if feature in found]
