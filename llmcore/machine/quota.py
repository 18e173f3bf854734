"""CPU quotas of this process's control groups, and the throttling that they caused.

Sources: Documentation/scheduler/sched-bwc and Documentation/admin-guide/cgroup-v2 of Linux.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llmcore.machine.cgroup import ControlGroup, control_groups


@dataclass(frozen=True)
class Quota:
    """Limit of one group, in CPUs (CPU time per time). `n_levels_up` is 0 for the process's own group, 1 for its parent, ..."""

    cpus: float
    n_levels_up: int


@dataclass(frozen=True)
class Throttling:
    """Throttling by one quota since its group was made. In `n_throttled` of `n_periods` periods the quota was used up;
    `throttled_s` is the sum over the CPUs that were stopped."""

    quota: Quota
    n_periods: int
    n_throttled: int
    throttled_s: float


def cpu_quotas(root: Path = Path("/")) -> tuple[Quota, ...]:
    """Returns the quotas of this process's group and its visible ancestors."""
    return tuple(quota for _, quota in _quotas(root))


def lowest_quota_cpus(root: Path = Path("/")) -> float | None:
    """Lowest quota in CPUs; None if there is none."""
    return min((quota.cpus for quota in cpu_quotas(root)), default=None)


def cpu_throttling(root: Path = Path("/")) -> tuple[Throttling, ...]:
    """Returns the throttling of each quota whose group has the figures."""
    found = []
    for group, quota in _quotas(root):
        n_periods, n_throttled = (group.read_field("cpu.stat", key) for key in ("nr_periods", "nr_throttled"))
        # v1 counts nanoseconds, v2 microseconds.
        key, per_s = ("throttled_time", 1e9) if group.version == 1 else ("throttled_usec", 1e6)
        throttled = group.read_field("cpu.stat", key)
        if n_periods is not None and n_throttled is not None and throttled is not None:
            found.append(Throttling(quota, n_periods, n_throttled, throttled / per_s))
    return tuple(found)


def _quotas(root: Path) -> list[tuple[ControlGroup, Quota]]:
    found = []
    n_seen = {1: 0, 2: 0}  # groups of each hierarchy, from the process's own upwards
    for group in control_groups("cpu", root):
        cpus = _cpus(group)
        if cpus is not None:
            found.append((group, Quota(cpus, n_seen[group.version])))
        n_seen[group.version] += 1
    return found


def _cpus(group: ControlGroup) -> float | None:
    """Limit of a group in CPUs; None if there is none."""
    if group.version == 2:
        words = (group.read("cpu.max") or "max").split()
        numbers = [int(word) for word in words if word.isascii() and word.isdigit()]
        quota, period = numbers if len(numbers) == 2 else (0, 0)
    else:
        quota = group.read_int("cpu.cfs_quota_us") or 0
        period = group.read_int("cpu.cfs_period_us") or 0
    return quota / period if quota > 0 and period > 0 else None
