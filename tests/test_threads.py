"""decide_threads on synthetic /sys and /proc trees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmcore.threads import decide_threads
from tests.test_cgroup import proc, v1, v2


def machine(root: Path, *cores: str, name: str = "core_cpus_list") -> frozenset[int]:
    """Writes the topology; each core is the kernel's list of its CPUs ("0,4" or "0-1"). Returns all CPUs."""
    cpus: list[int] = []
    for core in cores:
        if "-" in core:
            first, last = core.split("-")
            members = list(range(int(first), int(last) + 1))
        else:
            members = [int(cpu) for cpu in core.split(",")]
        for cpu in members:
            folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
            folder.mkdir(parents=True)
            (folder / name).write_text(f"{core}\n")
        cpus += members
    return frozenset(cpus)


def cpu_max(root: Path, folder: str, text: str) -> None:
    path = root / "sys/fs/cgroup" / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / "cpu.max").write_text(f"{text}\n")


def cfs(root: Path, folder: str, quota_us: int, period_us: int = 100_000) -> None:
    path = root / "sys/fs/cgroup/cpu" / folder
    path.mkdir(parents=True, exist_ok=True)
    (path / "cpu.cfs_quota_us").write_text(f"{quota_us}\n")
    (path / "cpu.cfs_period_us").write_text(f"{period_us}\n")


@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_siblings_are_one_core(tmp_path: Path, name: str) -> None:
    cpus = machine(tmp_path, "0,4", "1,5", "2,6", "3,7", name=name)
    decision = decide_threads(root=tmp_path, affinity=cpus)
    assert (decision.n_threads, decision.n_physical, decision.n_affinity, decision.quota_cpus) == (4, 4, 8, None)
    assert decision.reason == "4 physical cores in the affinity mask of 8 CPUs, no CPU quota"


def test_hybrid_cores_of_which_some_have_siblings(tmp_path: Path) -> None:
    cpus = machine(tmp_path, "0-1", "2-3", "4", "5")
    assert decide_threads(root=tmp_path, affinity=cpus).n_threads == 4


def test_a_cpuset_leaves_some_cores(tmp_path: Path) -> None:
    machine(tmp_path, "0,4", "1,5", "2,6", "3,7")
    assert decide_threads(root=tmp_path, affinity=frozenset({1, 5, 2})).n_threads == 2
    assert decide_threads(root=tmp_path, affinity=frozenset({4})).n_threads == 1


def test_cpus_of_unknown_topology_are_cores(tmp_path: Path) -> None:
    assert decide_threads(root=tmp_path, affinity=frozenset(range(6))).n_threads == 6


@pytest.mark.parametrize(
    ("quota", "n_threads", "quota_cpus"),
    [
        ("max 100000", 4, None),
        ("400000 100000", 4, 4.0),
        ("150000 100000", 1, 1.5),
        ("50000 100000", 1, 0.5),
        ("350000 100000", 3, 3.5),
        ("1600000 100000", 4, 16.0),
        ("60000 20000", 3, 3.0),
        ("", 4, None),
        ("nonsense", 4, None),
    ],
)
def test_v2_quota_is_rounded_down(tmp_path: Path, quota: str, n_threads: int, quota_cpus: float | None) -> None:
    cpus = machine(tmp_path, "0", "1", "2", "3")
    proc(tmp_path, "0::/\n", v2())
    cpu_max(tmp_path, "", quota)
    decision = decide_threads(root=tmp_path, affinity=cpus)
    assert (decision.n_threads, decision.quota_cpus) == (n_threads, quota_cpus)


@pytest.mark.parametrize(("quota_us", "n_threads"), [(-1, 4), (150_000, 1), (50_000, 1), (250_000, 2)])
def test_v1_quota(tmp_path: Path, quota_us: int, n_threads: int) -> None:
    cpus = machine(tmp_path, "0", "1", "2", "3")
    proc(tmp_path, "2:cpu:/docker/abc\n", v1("/sys/fs/cgroup/cpu", "cpu,cpuacct"))
    cfs(tmp_path, "docker/abc", quota_us)
    cfs(tmp_path, "", -1)
    assert decide_threads(root=tmp_path, affinity=cpus).n_threads == n_threads


def test_the_lowest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    cpus = machine(tmp_path, "0", "1", "2", "3")
    proc(tmp_path, "0::/pod/container\n", v2())
    cpu_max(tmp_path, "pod/container", "max 100000")
    cpu_max(tmp_path, "pod", "200000 100000")
    decision = decide_threads(root=tmp_path, affinity=cpus)
    assert decision.n_threads == 2
    assert decision.reason == "4 physical cores in the affinity mask of 4 CPUs, CPU quota 2"


def test_hybrid_mounts(tmp_path: Path) -> None:
    cpus = machine(tmp_path, "0", "1", "2", "3")
    proc(tmp_path, "2:cpu:/job\n0::/job\n", v1("/sys/fs/cgroup/cpu", "cpu") + v2("/sys/fs/cgroup/unified"))
    cfs(tmp_path, "job", 300_000)
    cpu_max(tmp_path, "unified/job", "max 100000")
    assert decide_threads(root=tmp_path, affinity=cpus).n_threads == 3


def test_a_requested_number_wins(tmp_path: Path) -> None:
    cpus = machine(tmp_path, "0", "1")
    decision = decide_threads(7, root=tmp_path, affinity=cpus)
    assert decision.n_threads == 7
    assert decision.reason == "as requested (2 physical cores in the affinity mask of 2 CPUs, no CPU quota)"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "active"}, "30000000000")],
)
def test_waiting_threads_spin_briefly_unless_the_environment_says_how_long(
    given: dict[str, str], expected: str
) -> None:
    # The runtime prints its settings when it is loaded.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    code = "import os; from llmcore import ffi; ffi.library(); print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environ, "OMP_DISPLAY_ENV": "verbose", **given},
        check=True,
        capture_output=True,
        text=True,
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("built with another OpenMP runtime than GCC's")
    assert f"GOMP_SPINCOUNT = '{expected}'" in done.stderr
    assert done.stdout.strip() == given.get("GOMP_SPINCOUNT", "None"), "the environment stays as it was"


def test_on_this_machine() -> None:
    decision = decide_threads()
    assert 1 <= decision.n_threads <= decision.n_physical <= decision.n_affinity == len(os.sched_getaffinity(0))
