"""Synthetic /proc and /sys trees of machines, in the form in which Linux tells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from llmcore.machine.topology import parse_cpu_list

V1_MOUNT = "35 31 0:32 {top} {point} rw,relatime shared:9 - cgroup cgroup rw,{controllers}\n"
V2_MOUNT = "31 23 0:28 {top} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
OTHER_MOUNT = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"


def proc(root: Path, cgroup: str, mountinfo: str) -> None:
    """Writes /proc/self of a synthetic machine."""
    folder = root / "proc/self"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup").write_text(cgroup)
    (folder / "mountinfo").write_text(OTHER_MOUNT + mountinfo)


def v1(point: str, controllers: str, top: str = "/") -> str:
    return V1_MOUNT.format(point=point, controllers=controllers, top=top)


def v2(point: str = "/sys/fs/cgroup", top: str = "/") -> str:
    return V2_MOUNT.format(point=point, top=top)


def write(root: Path, path: str, text: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(f"{text}\n")


def cores(root: Path, *lists: str, name: str = "core_cpus_list") -> frozenset[int]:
    """Writes the topology; each list has the CPUs of a core ("0,4" or "0-1"). Returns all CPUs."""
    cpus: set[int] = set()
    for each in lists:
        members = parse_cpu_list(each)
        for cpu in members:
            write(root, f"sys/devices/system/cpu/cpu{cpu}/topology/{name}", each)
        cpus |= members
    return frozenset(cpus)


def per_cpu(root: Path, file: str, values: Mapping[str, int]) -> None:
    """Writes a file of each CPU: a list of CPUs to the value there."""
    for cpus, value in values.items():
        for cpu in parse_cpu_list(cpus):
            write(root, f"sys/devices/system/cpu/cpu{cpu}/{file}", str(value))


def nodes(root: Path, lists: Iterable[str]) -> None:
    for i, cpus in enumerate(lists):
        write(root, f"sys/devices/system/node/node{i}/cpulist", cpus)


def cpu_max(root: Path, folder: str, text: str, stat: str = "") -> None:
    """A cgroup v2 group with a quota, below /sys/fs/cgroup."""
    path = f"sys/fs/cgroup/{folder}" if folder else "sys/fs/cgroup"
    write(root, f"{path}/cpu.max", text)
    if stat:
        write(root, f"{path}/cpu.stat", stat)


def cfs(root: Path, folder: str, quota_us: int, period_us: int = 100_000, stat: str = "") -> None:
    """A cgroup v1 group with a quota, below /sys/fs/cgroup/cpu."""
    path = f"sys/fs/cgroup/cpu/{folder}" if folder else "sys/fs/cgroup/cpu"
    write(root, f"{path}/cpu.cfs_quota_us", str(quota_us))
    write(root, f"{path}/cpu.cfs_period_us", str(period_us))
    if stat:
        write(root, f"{path}/cpu.stat", stat)
