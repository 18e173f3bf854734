"""The cores of this machine from /sys: siblings (SMT), speed relative to the fastest core, and NUMA node.

Sources: Documentation/ABI/testing/sysfs-devices-system-cpu and -node of Linux. Facts that the kernel does not publish, as in
many virtual machines and containers, get defaults: a CPU without siblings is a core, all cores are equally fast, one node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmcore.machine.system_files import read_system_file

# Performance counters that hybrid x86 CPUs have only for their efficiency cores; their file `cpus` lists these cores.
_EFFICIENCY_PMUS = ("cpu_atom", "cpu_lowpower")
# Efficiency cores have vector units of half the width. Clock and capacity do not reflect that: capacity is for integers.
_EFFICIENCY_WIDTH = 0.5

_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_N_CPUS_MAX = 2**16


@dataclass(frozen=True)
class Core:
    """A physical core: its logical CPUs that may be used, its speed relative to the fastest core (0 < speed ≤ 1), and its NUMA
    node."""

    cpus: frozenset[int]
    speed: float
    node: int


def read_cores(cpus: frozenset[int], root: Path = Path("/")) -> tuple[Core, ...]:
    """Returns the physical cores of logical CPUs, the fastest first.

    Args:
        cpus: the logical CPUs that may be used.
        root: where /sys is (for tests).
    """
    groups: dict[str, set[int]] = {}
    for cpu in sorted(cpus):
        groups.setdefault(_siblings(cpu, root), set()).add(cpu)
    speeds, nodes = _speeds(cpus, root), _nodes(root)
    cores = [
        Core(frozenset(group), max(speeds[cpu] for cpu in group), nodes.get(min(group), 0)) for group in groups.values()
    ]
    return tuple(sorted(cores, key=lambda core: (-core.speed, min(core.cpus))))


def parse_cpu_list(text: str) -> frozenset[int]:
    """Parses the kernel's notation for a set of CPUs, as "0-3,8"; ignores parts of another form."""
    found: set[int] = set()
    for part in text.strip().split(","):
        match = _RANGE.fullmatch(part.strip())
        if match:
            first, last = int(match[1]), int(match[2] or match[1])
            found.update(range(first, min(last, _N_CPUS_MAX) + 1))
    return frozenset(found)


def _siblings(cpu: int, root: Path) -> str:
    """Name of the core that a logical CPU belongs to: the kernel's list of the core's CPUs."""
    topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    for name in ("core_cpus_list", "thread_siblings_list"):  # the second is the first's older name
        text = read_system_file(topology / name)
        if text:
            return text
    return str(cpu)


def _speeds(cpus: frozenset[int], root: Path) -> dict[int, float]:
    """Speed of each CPU relative to the fastest one: by the kernel's capacity (big.LITTLE, newer hybrid x86) if every CPU has one,
    else by the highest clock, else all equal."""
    base: Mapping[int, float] = dict.fromkeys(cpus, 1.0)
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        values = {cpu: _positive(read_system_file(root / f"sys/devices/system/cpu/cpu{cpu}/{name}")) for cpu in cpus}
        known = {cpu: value for cpu, value in values.items() if value is not None}
        if len(known) == len(cpus):
            base = known
            break
    slow = frozenset[int]().union(
        *(parse_cpu_list(read_system_file(root / "sys/devices" / name / "cpus")) for name in _EFFICIENCY_PMUS)
    )
    speeds = {cpu: value * (_EFFICIENCY_WIDTH if cpu in slow else 1.0) for cpu, value in base.items()}
    fastest = max(speeds.values(), default=1.0)
    return {cpu: speed / fastest for cpu, speed in speeds.items()}


def _nodes(root: Path) -> dict[int, int]:
    """Maps each CPU to its NUMA node; empty if the kernel publishes none."""
    nodes: dict[int, int] = {}
    for folder in sorted((root / "sys/devices/system/node").glob("node*")):
        number = folder.name.removeprefix("node")
        if number.isdigit():
            nodes.update(dict.fromkeys(parse_cpu_list(read_system_file(folder / "cpulist")), int(number)))
    return nodes


def _positive(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and int(text) > 0 else None
