"""Instruction sets (native/kernels/isa): which of them run, and which one is preferred."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.config import KERNEL_LEVELS
from llmcore.llama.ffi.library import load_library
from tests.native_kernels import levels

CPUINFO = Path("/proc/cpuinfo")
AVX2 = {"avx", "avx2", "fma", "f16c", "bmi2"}
AVX512 = AVX2 | {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_vnni"}
# Linux lists a flag only if the registers are preserved too.
FLAGS = {"none": set(), "avx2": AVX2, "avxvnni": AVX2 | {"avx_vnni"}, "avx512": AVX512}
PREFERENCE = ("amx", "avx512", "avxvnni", "avx2", "none")

needs_kernels = pytest.mark.skipif(not levels(), reason="this build or machine has no kernels")


@needs_kernels
@pytest.mark.skipif(not CPUINFO.exists(), reason="not Linux")
@pytest.mark.parametrize("name", FLAGS)
def test_an_instruction_set_runs_if_the_cpu_has_its_flags(name: str) -> None:
    flags = next(set(line.split()) for line in CPUINFO.read_text().splitlines() if line.startswith("flags"))
    assert load_library().lc_kernels_runs(KERNEL_LEVELS.index(name)) == (flags >= FLAGS[name])


@needs_kernels
def test_amx_runs_only_with_its_flags() -> None:
    """Linux may still refuse the permission to use tiles."""
    flags = CPUINFO.read_text().split() if CPUINFO.exists() else []
    if load_library().lc_kernels_runs(KERNEL_LEVELS.index("amx")):
        assert AVX512 | {"amx_tile", "amx_bf16", "avx512_bf16"} <= set(flags)


def test_the_best_is_the_first_in_the_order_of_preference_that_runs() -> None:
    lib = load_library()
    runs = [name for name in PREFERENCE if lib.lc_kernels_runs(KERNEL_LEVELS.index(name))]
    assert KERNEL_LEVELS[lib.lc_kernels_best()] == runs[0]


@pytest.mark.parametrize("number", [-1, len(KERNEL_LEVELS), 99])
def test_numbers_that_stand_for_no_instruction_set_do_not_run(number: int) -> None:
    assert not load_library().lc_kernels_runs(number)
