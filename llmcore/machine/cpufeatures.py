"""Checks that this CPU has the instruction sets that the native libraries were compiled for, before any library is loaded: later
the process would crash with "illegal instruction" and without the name of the missing set.

Beside the libraries is `cpu.json` (native/cmake/CpuNeeds.cmake): the macros that the compiler defined with the flags of ggml's
CPU code, and for a native build the flags of the build machine in /proc/cpuinfo.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmcore.errors import CpuError
from llmcore.machine.system_files import read_system_file

NEEDS_FILE = "cpu.json"

# A compiler's macro → the kernel's word in /proc/cpuinfo, for instruction sets that compilers or ggml use.
_X86 = {
    "__SSE3__": "pni",
    "__SSSE3__": "ssse3",
    "__SSE4_1__": "sse4_1",
    "__SSE4_2__": "sse4_2",
    "__POPCNT__": "popcnt",
    "__AVX__": "avx",
    "__F16C__": "f16c",
    "__FMA__": "fma",
    "__AVX2__": "avx2",
    "__BMI__": "bmi1",
    "__BMI2__": "bmi2",
    "__LZCNT__": "abm",
    "__MOVBE__": "movbe",
    "__GFNI__": "gfni",
    "__AVXVNNI__": "avx_vnni",
    "__AVX512F__": "avx512f",
    "__AVX512BW__": "avx512bw",
    "__AVX512CD__": "avx512cd",
    "__AVX512DQ__": "avx512dq",
    "__AVX512VL__": "avx512vl",
    "__AVX512IFMA__": "avx512ifma",
    "__AVX512VBMI__": "avx512vbmi",
    "__AVX512VBMI2__": "avx512_vbmi2",
    "__AVX512BITALG__": "avx512_bitalg",
    "__AVX512VPOPCNTDQ__": "avx512_vpopcntdq",
    "__AVX512VNNI__": "avx512_vnni",
    "__AVX512BF16__": "avx512_bf16",
    "__AVX512FP16__": "avx512_fp16",
    "__AMX_TILE__": "amx_tile",
    "__AMX_INT8__": "amx_int8",
    "__AMX_BF16__": "amx_bf16",
}
_ARM = {
    "__ARM_FEATURE_ATOMICS": "atomics",
    "__ARM_FEATURE_CRC32": "crc32",
    "__ARM_FEATURE_DOTPROD": "asimddp",
    "__ARM_FEATURE_FP16_VECTOR_ARITHMETIC": "asimdhp",
    "__ARM_FEATURE_BF16_VECTOR_ARITHMETIC": "bf16",
    "__ARM_FEATURE_MATMUL_INT8": "i8mm",
    "__ARM_FEATURE_SVE": "sve",
    "__ARM_FEATURE_SVE2": "sve2",
    "__ARM_FEATURE_SME": "sme",
}
_WORDS = {"x86_64": _X86, "aarch64": _ARM}


@dataclass(frozen=True)
class CpuNeeds:
    """Needs of the libraries: `cpu_build` is "native" or "all" (variants, chosen at run time); `features` are the kernel's words
    for the instruction sets that the CPU must have."""

    cpu_build: str
    features: frozenset[str]


def read_needs(folder: Path) -> CpuNeeds | None:
    """Reads the needs of the libraries in a folder; None if they are unknown. Never raises."""
    try:
        needs: Any = json.loads((folder / NEEDS_FILE).read_text("utf-8"))
        words = _WORDS.get(needs["architecture"], {})
        features = {words[macro] for macro in needs["macros"] if macro in words}
        # A kernel that is older than an instruction set does not list it, even on a machine that has it.
        if needs["flags_at_build"]:
            features &= set(needs["flags_at_build"])
        return CpuNeeds(str(needs["cpu_build"]), frozenset(features))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def cpu_features(root: Path = Path("/")) -> frozenset[str] | None:
    """Returns the kernel's words for instruction sets that all CPUs of this machine have; None if they are unknown.

    Args:
        root: where /proc is (for tests).
    """
    lines = read_system_file(root / "proc/cpuinfo").splitlines()
    flags = [
        line.partition(":")[2].split() for line in lines if line.partition(":")[0].strip() in ("flags", "Features")
    ]
    return frozenset.intersection(*map(frozenset, flags)) if flags else None


def missing_features(folder: Path, root: Path = Path("/")) -> tuple[str, ...]:
    """Returns the instruction sets that the libraries in a folder need and this machine lacks, sorted; none if that is unknown."""
    needs, features = read_needs(folder), cpu_features(root)
    return () if needs is None or features is None else tuple(sorted(needs.features - features))


def check_cpu(folder: Path, root: Path = Path("/")) -> None:
    """Raises CpuError, naming each missing instruction set, if there is one."""
    missing = missing_features(folder, root)
    if missing:
        raise CpuError(
            f"this CPU lacks {', '.join(missing)}, which the native libraries in {folder} were compiled for: build on this "
            "machine, or with LLMCORE_CPU=all, which chooses at run time"
        )
