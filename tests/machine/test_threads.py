"""decide_threads on synthetic /sys and /proc trees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.machine.threads import ThreadDecision, choose_cores, decide_threads
from llmcore.machine.topology import Core
from tests.machines import cfs, cores, cpu_max, nodes, per_cpu, proc, v1, v2, write


def decide(root: Path, cpus: frozenset[int]) -> ThreadDecision:
    return decide_threads(root=root, affinity=cpus)


# --- Machines ---------------------------------------------------------------------------------------------------------


def test_a_virtual_machine_with_two_cores(tmp_path: Path) -> None:
    cpus = cores(tmp_path, "0", "1")
    nodes(tmp_path, ["0-1"])
    proc(tmp_path, "0::/system.slice/llm.service\n", v2())
    decision = decide(tmp_path, cpus)
    assert decision == ThreadDecision(
        n_threads=2,
        n_threads_batch=2,
        reason="2 physical cores in the affinity mask of 2 CPUs, no CPU quota",
        n_cpus=2,
        n_cores=2,
        n_cores_used=2,
        n_nodes=1,
        quota_cpus=None,
    )


def test_an_smt_desktop(tmp_path: Path) -> None:
    cpus = cores(tmp_path, *(f"{i},{i + 8}" for i in range(8)))
    # Two favoured cores clock a little higher.
    per_cpu(tmp_path, "cpufreq/cpuinfo_max_freq", {"0-1,8-9": 5_700_000, "2-7,10-15": 5_400_000})
    decision = decide(tmp_path, cpus)
    assert (decision.n_threads, decision.n_cores, decision.n_cpus) == (8, 8, 16)
    assert decision.reason == "8 physical cores in the affinity mask of 16 CPUs, no CPU quota"


def hybrid(root: Path, n_fast: int, n_slow: int) -> frozenset[int]:
    """An Intel hybrid: fast cores with two CPUs each, then efficiency cores."""
    first = 2 * n_fast
    fast = [f"{i}-{i + 1}" for i in range(0, first, 2)]
    cpus = cores(root, *fast, *map(str, range(first, first + n_slow)))
    write(root, "sys/devices/cpu_core/cpus", f"0-{first - 1}")
    write(root, "sys/devices/cpu_atom/cpus", f"{first}-{first + n_slow - 1}")
    clocks = {f"0-{first - 1}": 5_200_000, f"{first}-{first + n_slow - 1}": 3_900_000}
    per_cpu(root, "cpufreq/cpuinfo_max_freq", clocks)
    return cpus


@pytest.mark.parametrize(
    ("n_fast", "n_slow", "n_threads"),
    [(8, 8, 8), (8, 16, 8), (6, 4, 6), (4, 8, 4), (2, 8, 10), (1, 4, 5)],
)
def test_a_hybrid_desktop_or_laptop(tmp_path: Path, n_fast: int, n_slow: int, n_threads: int) -> None:
    decision = decide(tmp_path, hybrid(tmp_path, n_fast, n_slow))
    assert (decision.n_threads, decision.n_cores) == (n_threads, n_fast + n_slow)
    assert ("too slow to wait for" in decision.reason) == (n_threads == n_fast)


def test_efficiency_cores_alone_are_used(tmp_path: Path) -> None:
    hybrid(tmp_path, 8, 8)
    assert decide(tmp_path, frozenset(range(16, 24))).n_threads == 8


def test_a_quota_and_a_hybrid(tmp_path: Path) -> None:
    cpus = hybrid(tmp_path, 8, 8)
    proc(tmp_path, "0::/\n", v2())
    cpu_max(tmp_path, "", "400000 100000")
    decision = decide(tmp_path, cpus)
    assert decision.n_threads == 4
    assert decision.reason == (
        "16 physical cores in the affinity mask of 24 CPUs, 8 of them too slow to wait for, CPU quota 4"
    )


@pytest.mark.parametrize(
    ("capacity", "n_threads"),
    [
        ({"0-3": 256, "4-7": 1024}, 4),  # big.LITTLE
        ({"0-3": 300, "4-6": 900, "7": 1024}, 4),  # three kinds, of which two are nearly alike
        ({"0-3": 325, "4-6": 780, "7": 1024}, 4),  # a single prime core does not outdo four
        ({"0-7": 1024}, 8),
    ],
)
def test_arm64(tmp_path: Path, capacity: dict[str, int], n_threads: int) -> None:
    cpus = cores(tmp_path, *map(str, range(8)))
    per_cpu(tmp_path, "cpu_capacity", capacity)
    assert decide(tmp_path, cpus).n_threads == n_threads


def test_two_sockets(tmp_path: Path) -> None:
    cpus = cores(tmp_path, *(f"{i},{i + 32}" for i in range(32)))
    nodes(tmp_path, ["0-15,32-47", "16-31,48-63"])
    decision = decide(tmp_path, cpus)
    assert (decision.n_threads, decision.n_nodes) == (32, 2)
    assert decision.reason == "32 physical cores in the affinity mask of 64 CPUs, 2 NUMA nodes, no CPU quota"
    assert "numactl" in decision.notes[0]
    bound = decide(tmp_path, frozenset(range(16)))
    assert (bound.n_threads, bound.n_nodes, bound.notes) == (16, 1, ())


def test_a_cpuset_leaves_some_cores(tmp_path: Path) -> None:
    cores(tmp_path, "0,4", "1,5", "2,6", "3,7")
    assert decide(tmp_path, frozenset({1, 5, 2})).n_threads == 2
    assert decide(tmp_path, frozenset({4})).n_threads == 1


def test_cpus_of_unknown_topology_are_cores(tmp_path: Path) -> None:
    assert decide(tmp_path, frozenset(range(6))).n_threads == 6


# --- Quotas -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quota", "n_threads"),
    [
        ("max 100000", 4),
        ("400000 100000", 4),
        ("150000 100000", 1),
        ("50000 100000", 1),
        ("350000 100000", 3),
        ("1600000 100000", 4),
    ],
)
def test_a_quota_is_rounded_down_but_to_no_less_than_one(tmp_path: Path, quota: str, n_threads: int) -> None:
    cpus = cores(tmp_path, "0", "1", "2", "3")
    proc(tmp_path, "0::/\n", v2())
    cpu_max(tmp_path, "", quota)
    assert decide(tmp_path, cpus).n_threads == n_threads


def test_the_lowest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    cpus = cores(tmp_path, "0", "1", "2", "3")
    proc(tmp_path, "0::/pod/container\n", v2())
    cpu_max(tmp_path, "pod/container", "max 100000")
    cpu_max(tmp_path, "pod", "200000 100000")
    decision = decide(tmp_path, cpus)
    assert decision.n_threads == 2
    assert decision.reason == "4 physical cores in the affinity mask of 4 CPUs, CPU quota 2"


def test_nested_v1_quotas(tmp_path: Path) -> None:
    cpus = cores(tmp_path, "0", "1", "2", "3")
    proc(tmp_path, "2:cpu,cpuacct:/kubepods/pod/box\n", v1("/sys/fs/cgroup/cpu", "cpu,cpuacct"))
    cfs(tmp_path, "kubepods/pod/box", 300_000)
    cfs(tmp_path, "kubepods/pod", 250_000)
    cfs(tmp_path, "kubepods", -1)
    assert (decide(tmp_path, cpus).n_threads, decide(tmp_path, cpus).quota_cpus) == (2, 2.5)


def test_hybrid_mounts(tmp_path: Path) -> None:
    cpus = cores(tmp_path, "0", "1", "2", "3")
    proc(tmp_path, "2:cpu:/job\n0::/job\n", v1("/sys/fs/cgroup/cpu", "cpu") + v2("/sys/fs/cgroup/unified"))
    cfs(tmp_path, "job", 300_000)
    cpu_max(tmp_path, "unified/job", "max 100000")
    assert decide(tmp_path, cpus).n_threads == 3


def test_less_than_one_cpu_is_noted(tmp_path: Path) -> None:
    cpus = cores(tmp_path, "0", "1")
    proc(tmp_path, "0::/\n", v2())
    cpu_max(tmp_path, "", "50000 100000")
    assert "raise the quota to 1 CPU or more" in decide(tmp_path, cpus).notes[0]


# --- Requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("requested", "counts", "reason"),
    [
        ((7, 0), (7, 7), "threads as requested (2 physical"),
        ((0, 3), (2, 3), "threads_batch as requested (2 physical"),
        ((1, 2), (1, 2), "threads as requested, threads_batch as requested (2 physical"),
    ],
)
def test_requested_numbers_win(
    tmp_path: Path, requested: tuple[int, int], counts: tuple[int, int], reason: str
) -> None:
    cpus = cores(tmp_path, "0", "1")
    decision = decide_threads(*requested, root=tmp_path, affinity=cpus)
    assert decision.counts == counts
    assert decision.reason.startswith(reason)
    assert bool(decision.notes) == (max(counts) > 2)


def test_more_than_the_quota_is_noted(tmp_path: Path) -> None:
    cpus = cores(tmp_path, "0", "1", "2", "3")
    proc(tmp_path, "0::/\n", v2())
    cpu_max(tmp_path, "", "200000 100000")
    decision = decide_threads(4, root=tmp_path, affinity=cpus)
    assert decision.n_threads == 4
    assert decision.notes == (
        "4 threads share a CPU quota of 2: all of them stop whenever it is used up; use fewer threads, or raise the quota",
    )


# --- The rule for slow cores ------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0.2, 0.3, 0.5, 0.7, 0.79, 0.8, 0.95]), max_size=40))
def test_what_is_chosen_is_never_slower_than_the_fast_cores_alone(others: list[float]) -> None:
    found = [Core(frozenset({i}), speed, 0) for i, speed in enumerate([1.0, *sorted(others, reverse=True)])]
    chosen = choose_cores(found)
    assert list(chosen) == found[: len(chosen)], "the fastest ones"
    left = found[len(chosen) :]
    assert not left or left[0].speed < chosen[-1].speed, "all of a kind, or none"
    n_fast = sum(core.speed >= 0.8 for core in found)
    assert len(chosen) >= n_fast
    assert len(chosen) == n_fast or len(chosen) * chosen[-1].speed >= 1.25 * n_fast


# --- Spinning -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({}, "1000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "active"}, "30000000000")],
)
def test_waiting_threads_spin_briefly_unless_the_environment_says_how_long(
    environment: dict[str, str], expected: str
) -> None:
    # The runtime prints its settings when it is loaded.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    code = "import os; from llmcore.llama.ffi.library import load_library; load_library(); print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environ, "OMP_DISPLAY_ENV": "verbose", **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("built with another OpenMP runtime than GCC's")
    assert f"GOMP_SPINCOUNT = '{expected}'" in done.stderr
    assert done.stdout.strip() == environment.get("GOMP_SPINCOUNT", "None"), "the environment stays as it was"


def test_on_this_machine() -> None:
    decision = decide_threads()
    assert decision.n_cpus == len(os.sched_getaffinity(0))
    assert (
        1
        <= decision.n_threads
        == decision.n_threads_batch
        <= decision.n_cores_used
        <= decision.n_cores
        <= decision.n_cpus
    )
