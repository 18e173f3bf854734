"""The cores of this machine, as /sys tells them: siblings (SMT), how fast each is beside the fastest, and its NUMA node.

Sources: Documentation/ABI/testing/sysfs-devices-system-cpu and -node of Linux. What the kernel does not tell, as in many
virtual machines and containers, is taken to be plain: a CPU without siblings is a core, all cores are alike, one node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Performance counters that hybrid x86 CPUs have for their efficiency cores alone; their `cpus` list those cores.
_EFFICIENCY_PMUS = ("cpu_atom", "cpu_lowpower")
# These have vector units of half the width, which clock and capacity do not show: the kernel's capacity is for integers.
_EFFICIENCY_WIDTH = 0.5

_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_N_CPUS_MAX = 2**16


@dataclass(frozen=True)
class Core:
    """A physical core: those of its logical CPUs that may be used, its speed as a part of the fastest one's (0 < speed ≤ 1),
    and its NUMA node."""

    cpus: frozenset[int]
    speed: float
    node: int


def read_cores(cpus: frozenset[int], root: Path = Path("/")) -> tuple[Core, ...]:
    """The physical cores that logical CPUs belong to, the fastest first.

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
    """The kernel's form of a set of CPUs, as "0-3,8"; what is not of that form is left out."""
    found: set[int] = set()
    for part in text.strip().split(","):
        match = _RANGE.fullmatch(part.strip())
        if match:
            first, last = int(match[1]), int(match[2] or match[1])
            found.update(range(first, min(last, _N_CPUS_MAX) + 1))
    return frozenset(found)


def _siblings(cpu: int, root: Path) -> str:
    """A name for the core that a logical CPU belongs to: the kernel's list of the CPUs on it."""
    topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    for name in ("core_cpus_list", "thread_siblings_list"):  # the second is the first's older name
        text = _read(topology / name)
        if text:
            return text
    return str(cpu)


def _speeds(cpus: frozenset[int], root: Path) -> dict[int, float]:
    """Of each CPU, as a part of the fastest one's.

    The kernel's own capacity (big.LITTLE, newer hybrid x86) where every CPU has one, else the highest clock, else nothing.
    """
    base: Mapping[int, float] = dict.fromkeys(cpus, 1.0)
    for name in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        told = {cpu: _positive(_read(root / f"sys/devices/system/cpu/cpu{cpu}/{name}")) for cpu in cpus}
        known = {cpu: value for cpu, value in told.items() if value is not None}
        if len(known) == len(cpus):
            base = known
            break
    slow = frozenset[int]().union(
        *(parse_cpu_list(_read(root / "sys/devices" / name / "cpus")) for name in _EFFICIENCY_PMUS)
    )
    speeds = {cpu: value * (_EFFICIENCY_WIDTH if cpu in slow else 1.0) for cpu, value in base.items()}
    fastest = max(speeds.values(), default=1.0)
    return {cpu: speed / fastest for cpu, speed in speeds.items()}


def _nodes(root: Path) -> dict[int, int]:
    """CPU → NUMA node; empty where the kernel tells none."""
    nodes: dict[int, int] = {}
    for folder in sorted((root / "sys/devices/system/node").glob("node*")):
        number = folder.name.removeprefix("node")
        if number.isdigit():
            nodes.update(dict.fromkeys(parse_cpu_list(_read(folder / "cpulist")), int(number)))
    return nodes


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _positive(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() and int(text) > 0 else None
