"""How many threads to compute with: one for each physical core that this process may use, within its CPU quota.

A second thread on a core (SMT) does not add to matrix products, and a thread beyond the quota stops all others at every
barrier until the next period. So: min(physical cores in the affinity mask, floor of the quota), at least 1. The
affinity mask already reflects cpusets. It is never overridden.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llmcore.cgroup import ControlGroup, control_groups


@dataclass(frozen=True)
class ThreadDecision:
    """The count and what it was decided from. `n_physical` are cores in the affinity mask, `n_affinity` its logical
    CPUs, `quota_cpus` the lowest CPU quota of the control groups, in CPUs."""

    n_threads: int
    reason: str
    n_physical: int
    n_affinity: int
    quota_cpus: float | None


def decide_threads(
    requested: int = 0, *, root: Path = Path("/"), affinity: frozenset[int] | None = None
) -> ThreadDecision:
    """Decides the number of threads.

    Args:
        requested: a number that wins over the machine's; 0 for none.
        root: where /proc and /sys are (for tests).
        affinity: the logical CPUs that may be used, by default this process's.
    """
    cpus = frozenset(os.sched_getaffinity(0)) if affinity is None else affinity
    n_physical = _n_cores(cpus, root)
    quota = _quota_cpus(root)
    by_machine = n_physical if quota is None else max(min(n_physical, math.floor(quota)), 1)
    inputs = f"{_count(n_physical, 'physical core')} in the affinity mask of {_count(len(cpus), 'CPU')}, " + (
        "no CPU quota" if quota is None else f"CPU quota {quota:g}"
    )
    if requested > 0:
        return ThreadDecision(requested, f"as requested ({inputs})", n_physical, len(cpus), quota)
    return ThreadDecision(by_machine, inputs, n_physical, len(cpus), quota)


# How often a waiting thread of GCC's OpenMP runtime looks before it sleeps. Its own default, 300,000, takes milliseconds:
# wherever another process runs on one of our cores, its time goes to a thread that waits for one that cannot run. With
# 1,000 no loss was measured on an idle machine (docs/BENCHMARKS.md).
_SPINS = "1000"
_SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@contextlib.contextmanager
def brief_spinning() -> Iterator[None]:
    """While it lasts, an OpenMP runtime that is loaded is told to spin briefly, unless the environment says how long."""
    if any(name in os.environ for name in _SPIN_VARIABLES):
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = _SPINS
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _n_cores(cpus: frozenset[int], root: Path) -> int:
    """Physical cores among logical CPUs, at least 1; a CPU of which the kernel tells no siblings is a core."""
    return max(len({_siblings(cpu, root) for cpu in cpus}), 1)


def _siblings(cpu: int, root: Path) -> str:
    """A name for the core that a logical CPU belongs to: the kernel's list of the CPUs on it."""
    topology = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    for name in ("core_cpus_list", "thread_siblings_list"):  # the second is the first's older name
        try:
            text = (topology / name).read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            continue
        if text:
            return text
    return str(cpu)


def _quota_cpus(root: Path) -> float | None:
    quotas = [quota for group in control_groups("cpu", root) if (quota := _quota_of(group)) is not None]
    return min(quotas, default=None)


def _quota_of(group: ControlGroup) -> float | None:
    """CPU time per time that a group may take, None without a limit."""
    if group.version == 2:
        words = (group.read("cpu.max") or "max").split()
        numbers = [int(word) for word in words if word.isdigit()]
        quota, period = numbers if len(numbers) == 2 else (0, 0)
    else:
        quota = group.read_int("cpu.cfs_quota_us") or 0
        period = group.read_int("cpu.cfs_period_us") or 0
    return quota / period if quota > 0 and period > 0 else None
