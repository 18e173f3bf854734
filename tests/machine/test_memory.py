"""Memory limits on synthetic trees."""

from __future__ import annotations

from pathlib import Path

from llmcore.machine.memory import UNKNOWN_BYTES, memory_available_bytes, memory_limit_bytes
from tests.machines import proc, v1, v2

GIB = 2**30


def group(root: Path, folder: str, **files: object) -> None:
    """Writes files of a group: memory_max is memory.max."""
    path = root / folder.lstrip("/")
    path.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (path / name.replace("_", ".", 1)).write_text(f"{value}\n")


def meminfo(root: Path, available_bytes: int) -> None:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 1 kB\nMemFree: 2 kB\nMemAvailable:   {available_bytes // 1024} kB\n")


def test_v2_the_lowest_limit_on_the_way_up_counts(tmp_path: Path) -> None:
    proc(tmp_path, "0::/pod/container\n", v2())
    group(
        tmp_path,
        "/sys/fs/cgroup/pod/container",
        memory_max="max",
        memory_current=3 * GIB,
        memory_stat="inactive_file 0",
    )
    group(
        tmp_path,
        "/sys/fs/cgroup/pod",
        memory_max=4 * GIB,
        memory_current=3 * GIB,
        memory_stat=f"anon {GIB}\ninactive_file {GIB // 2}\nactive_file {GIB // 2}",
    )
    meminfo(tmp_path, 64 * GIB)
    assert memory_limit_bytes(tmp_path) == 4 * GIB
    assert memory_available_bytes(tmp_path) == 2 * GIB


def test_v1_counts_the_groups_below_and_knows_its_number_for_no_limit(tmp_path: Path) -> None:
    proc(tmp_path, "4:memory:/docker/abc\n", v1("/sys/fs/cgroup/memory", "memory"))
    no_limit = 9223372036854771712
    group(tmp_path, "/sys/fs/cgroup/memory", memory_limit_in_bytes=no_limit)
    group(tmp_path, "/sys/fs/cgroup/memory/docker", memory_limit_in_bytes=no_limit)
    group(
        tmp_path,
        "/sys/fs/cgroup/memory/docker/abc",
        memory_limit_in_bytes=2 * GIB,
        memory_usage_in_bytes=GIB,
        memory_stat=f"inactive_file 1\ntotal_inactive_file {GIB // 4}\ntotal_active_file {GIB // 4}",
    )
    meminfo(tmp_path, 8 * GIB)
    assert memory_limit_bytes(tmp_path) == 2 * GIB
    assert memory_available_bytes(tmp_path) == 2 * GIB - GIB // 2


def test_the_machine_may_have_less_than_the_limit(tmp_path: Path) -> None:
    proc(tmp_path, "0::/\n", v2())
    group(tmp_path, "/sys/fs/cgroup", memory_max=8 * GIB, memory_current=0)
    meminfo(tmp_path, GIB)
    assert memory_limit_bytes(tmp_path) == 8 * GIB
    assert memory_available_bytes(tmp_path) == GIB


def test_hybrid_machines(tmp_path: Path) -> None:
    proc(tmp_path, "4:memory:/job\n0::/job\n", v1("/sys/fs/cgroup/memory", "memory") + v2("/sys/fs/cgroup/unified"))
    group(tmp_path, "/sys/fs/cgroup/memory/job", memory_limit_in_bytes=GIB, memory_usage_in_bytes=GIB // 2)
    (tmp_path / "sys/fs/cgroup/unified/job").mkdir(parents=True)
    assert memory_limit_bytes(tmp_path) == GIB
    assert memory_available_bytes(tmp_path) == GIB // 2


def test_more_used_than_allowed_is_none_left(tmp_path: Path) -> None:
    proc(tmp_path, "0::/\n", v2())
    group(tmp_path, "/sys/fs/cgroup", memory_max=GIB, memory_current=2 * GIB)
    assert memory_available_bytes(tmp_path) == 0


def test_without_a_limit(tmp_path: Path) -> None:
    proc(tmp_path, "0::/\n", v2())
    group(tmp_path, "/sys/fs/cgroup", memory_max="max")
    meminfo(tmp_path, GIB)
    assert memory_limit_bytes(tmp_path) is None
    assert memory_available_bytes(tmp_path) == GIB


def test_a_machine_that_tells_nothing_refuses_nothing(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path) is None
    assert memory_available_bytes(tmp_path) == UNKNOWN_BYTES


def test_on_this_machine() -> None:
    assert 2**20 < memory_available_bytes() < UNKNOWN_BYTES
