"""read_cores on synthetic /sys trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.machine.topology import parse_cpu_list, read_cores
from tests import machines


def speeds(root: Path, cpus: frozenset[int]) -> list[float]:
    return [round(core.speed, 3) for core in read_cores(cpus, root)]


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("", set()),
        ("0", {0}),
        ("0-3,8,10-11\n", {0, 1, 2, 3, 8, 10, 11}),
        ("3-1", set()),
        ("x,2,-5,1-", {2}),
        ("0-999999999999", set()),
        ("1-999999", set(range(1, 2**16 + 1))),
    ],
)
def test_lists_of_cpus(text: str, cpus: set[int]) -> None:
    assert parse_cpu_list(text) == cpus


@given(st.sets(st.integers(0, 300)))
def test_a_list_of_cpus_comes_back(cpus: set[int]) -> None:
    assert parse_cpu_list(",".join(map(str, sorted(cpus)))) == cpus


@given(st.text(max_size=30))
def test_no_text_is_an_error(text: str) -> None:
    assert all(cpu >= 0 for cpu in parse_cpu_list(text))


@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_siblings_are_one_core(tmp_path: Path, name: str) -> None:
    cpus = machines.cores(tmp_path, "0,4", "1,5", "2,6", "3,7", name=name)
    found = read_cores(cpus, tmp_path)
    assert [core.cpus for core in found] == [{0, 4}, {1, 5}, {2, 6}, {3, 7}]
    assert {(core.speed, core.node) for core in found} == {(1.0, 0)}


def test_only_cpus_that_may_be_used(tmp_path: Path) -> None:
    machines.cores(tmp_path, "0,4", "1,5", "2,6", "3,7")
    assert [core.cpus for core in read_cores(frozenset({1, 5, 2}), tmp_path)] == [{1, 5}, {2}]


def test_a_kernel_that_tells_nothing(tmp_path: Path) -> None:
    found = read_cores(frozenset(range(3)), tmp_path)
    assert [(core.cpus, core.speed, core.node) for core in found] == [(frozenset({i}), 1.0, 0) for i in range(3)]
    assert read_cores(frozenset(), tmp_path) == ()


def test_capacity_of_big_little(tmp_path: Path) -> None:
    cpus = machines.cores(tmp_path, *map(str, range(8)))
    machines.per_cpu(tmp_path, "cpu_capacity", {"0-3": 256, "4-7": 1024})
    machines.per_cpu(tmp_path, "cpufreq/cpuinfo_max_freq", {"0-7": 2_000_000})
    assert speeds(tmp_path, cpus) == [1.0] * 4 + [0.25] * 4
    assert min(read_cores(cpus, tmp_path)[0].cpus) == 4, "the fastest first"


def test_the_clock_where_there_is_no_capacity(tmp_path: Path) -> None:
    cpus = machines.cores(tmp_path, "0", "1", "2")
    machines.per_cpu(tmp_path, "cpufreq/cpuinfo_max_freq", {"0": 5_000_000, "1": 4_800_000, "2": 2_500_000})
    assert speeds(tmp_path, cpus) == [1.0, 0.96, 0.5]


def test_what_only_some_cpus_tell_tells_nothing(tmp_path: Path) -> None:
    cpus = machines.cores(tmp_path, "0", "1", "2")
    machines.per_cpu(tmp_path, "cpu_capacity", {"0": 1024, "1": 0, "2": 300})
    machines.per_cpu(tmp_path, "cpufreq/cpuinfo_max_freq", {"0-1": 5_000_000})
    assert speeds(tmp_path, cpus) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("pmu", ["cpu_atom", "cpu_lowpower"])
def test_efficiency_cores_have_half_the_width(tmp_path: Path, pmu: str) -> None:
    cpus = machines.cores(tmp_path, "0-1", "2-3", "4", "5")
    machines.write(tmp_path, "sys/devices/cpu_core/cpus", "0-3")
    machines.write(tmp_path, f"sys/devices/{pmu}/cpus", "4-5")
    assert speeds(tmp_path, cpus) == [1.0, 1.0, 0.5, 0.5]
    machines.per_cpu(tmp_path, "cpufreq/cpuinfo_max_freq", {"0-3": 5_000_000, "4-5": 4_000_000})
    assert speeds(tmp_path, cpus) == [1.0, 1.0, 0.4, 0.4]
    # Without the others they are the fastest.
    assert speeds(tmp_path, frozenset({4, 5})) == [1.0, 1.0]


def test_numa_nodes(tmp_path: Path) -> None:
    cpus = machines.cores(tmp_path, "0,4", "1,5", "2,6", "3,7")
    machines.nodes(tmp_path, ["0-1,4-5", "2-3,6-7"])
    machines.write(tmp_path, "sys/devices/system/node/nodes_odd/cpulist", "0-7")
    assert [core.node for core in read_cores(cpus, tmp_path)] == [0, 0, 1, 1]


def test_on_this_machine() -> None:
    cpus = frozenset(os.sched_getaffinity(0))
    found = read_cores(cpus)
    assert frozenset().union(*(core.cpus for core in found)) == cpus
    assert all(0 < core.speed <= 1 for core in found)
