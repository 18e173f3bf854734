"""Checks of the machine, on synthetic trees."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.doctor import machine_checks as checks
from llmcore.machine.threads import decide_threads
from tests.machine.test_cpufeatures import MACROS, cpuinfo, needs_file
from tests.machines import cores, cpu_max, per_cpu, proc, v2, write

ALL = "pni avx2 abm avx512f avx512_vnni"


def test_cpu_features(tmp_path: Path) -> None:
    cpuinfo(tmp_path, ALL)
    assert checks.check_cpu_features(tmp_path, tmp_path).status == "warn", "no cpu.json"
    needs_file(tmp_path)
    assert checks.check_cpu_features(tmp_path, tmp_path).status == "ok"
    cpuinfo(tmp_path, "pni avx2 abm")
    check = checks.check_cpu_features(tmp_path, tmp_path)
    assert (check.status, "avx512_vnni, avx512f" in check.found) == ("fail", True)
    assert "LLMCORE_CPU=all" in check.advice
    (tmp_path / "proc/cpuinfo").unlink()
    assert checks.check_cpu_features(tmp_path, tmp_path).status == "warn"


def test_a_build_that_leaves_instructions_unused(tmp_path: Path) -> None:
    cpuinfo(tmp_path, ALL + " amx_int8")
    needs_file(tmp_path, [macro for macro in MACROS if "512" not in macro])
    check = checks.check_cpu_features(tmp_path, tmp_path)
    assert check.status == "warn"
    assert "has avx512f, avx512_vnni, amx_int8, which" in check.found
    needs_file(tmp_path, ["__SSE3__"], cpu_build="all")
    assert checks.check_cpu_features(tmp_path, tmp_path).status == "ok"


def test_threads(tmp_path: Path) -> None:
    cpus = cores(tmp_path, "0", "1")
    check = checks.check_threads(decide_threads(root=tmp_path, affinity=cpus))
    assert (check.status, check.advice) == ("ok", "")
    assert check.found.startswith("2 for steps of one token, 2 for prompts: 2 physical cores")
    check = checks.check_threads(decide_threads(4, root=tmp_path, affinity=cpus))
    assert check.status == "warn"
    assert "no more threads than cores" in check.advice


def test_throttling(tmp_path: Path) -> None:
    assert checks.check_throttling(tmp_path).found == "no CPU quota"
    proc(tmp_path, "0::/a\n", v2())
    cpu_max(tmp_path, "a", "100000 100000", "nr_periods 20\nnr_throttled 0\nthrottled_usec 0")
    assert checks.check_throttling(tmp_path).status == "ok"
    cpu_max(tmp_path, "", "150000 100000", "nr_periods 20\nnr_throttled 3\nthrottled_usec 2500000")
    check = checks.check_throttling(tmp_path)
    assert check.status == "warn"
    assert "CPU quota 1.5 of the control group 1 up: used up in 3 of 20 periods, 2.5 s" in check.found
    assert "llm_service_cpu_throttled_periods_total" in check.advice


@pytest.mark.parametrize(
    ("text", "status"),
    [("[always] madvise never", "ok"), ("always [madvise] never", "warn"), ("always madvise [never]", "warn")],
)
def test_huge_pages(tmp_path: Path, text: str, status: str) -> None:
    assert checks.check_huge_pages(tmp_path).status == "ok"
    write(tmp_path, "sys/kernel/mm/transparent_hugepage/enabled", text)
    check = checks.check_huge_pages(tmp_path)
    assert check.status == status
    assert bool(check.advice) == (status == "warn")


@pytest.mark.parametrize(
    ("governor", "driver", "preference", "status"),
    [
        ("performance", "intel_pstate", "", "ok"),
        ("powersave", "intel_pstate", "balance_performance", "ok"),
        ("powersave", "amd-pstate-epp", "power", "warn"),
        ("powersave", "acpi-cpufreq", "", "warn"),
        ("schedutil", "acpi-cpufreq", "", "ok"),
    ],
)
def test_the_governor(tmp_path: Path, governor: str, driver: str, preference: str, status: str) -> None:
    cpus = frozenset({0, 1})
    for cpu in cpus:
        folder = f"sys/devices/system/cpu/cpu{cpu}/cpufreq"
        write(tmp_path, f"{folder}/scaling_governor", governor)
        write(tmp_path, f"{folder}/scaling_driver", driver)
        if preference:
            write(tmp_path, f"{folder}/energy_performance_preference", preference)
    check = checks.check_governor(cpus, tmp_path)
    assert check.status == status
    assert governor in check.found


def test_a_machine_without_clocks(tmp_path: Path) -> None:
    per_cpu(tmp_path, "cpu_capacity", {"0": 1024})
    assert checks.check_governor(frozenset({0}), tmp_path).status == "ok"


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OMP_DYNAMIC": "true"}, "OMP_DYNAMIC=true"),
        ({"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}, "OMP_PLACES=cores"),
        ({"GOMP_CPU_AFFINITY": "0-1"}, "GOMP_CPU_AFFINITY=0-1"),
        ({"OMP_WAIT_POLICY": "active"}, "OMP_WAIT_POLICY=active"),
        ({"GOMP_SPINCOUNT": "5"}, "GOMP_SPINCOUNT=5"),
        ({"OMP_THREAD_LIMIT": "1"}, "OMP_THREAD_LIMIT=1: the runtime gives no more threads, and 2 are wanted"),
    ],
)
def test_the_environment(tmp_path: Path, environ: dict[str, str], said: str) -> None:
    decision = decide_threads(root=tmp_path, affinity=cores(tmp_path, "0", "1"))
    check = checks.check_openmp(environ, decision)
    assert check.status == "warn"
    assert said in check.found


@pytest.mark.parametrize("environ", [{}, {"OMP_NUM_THREADS": "2"}, {"OMP_THREAD_LIMIT": "2", "OMP_DYNAMIC": ""}])
def test_an_environment_that_changes_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    decision = decide_threads(root=tmp_path, affinity=cores(tmp_path, "0", "1"))
    assert checks.check_openmp(environ, decision).status == "ok"
