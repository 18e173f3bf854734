"""Memory that this process may still allocate, by the machine and by the limits of its control groups."""

from __future__ import annotations

from pathlib import Path

from llmcore.machine.cgroup import ControlGroup, control_groups
from llmcore.machine.system_files import read_system_file

# v1 writes "no limit" as the largest multiple of the page size below 2**63.
_NO_LIMIT_BYTES = 2**60
UNKNOWN_BYTES = 2**63 - 1


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """Lowest memory limit of this process's control groups and their ancestors; None if there is none."""
    return min((limit for _, limit in _limits(root)), default=None)


def memory_available_bytes(root: Path = Path("/")) -> int:
    """Bytes that can be allocated before the machine or a control group runs out of memory; never negative.

    The page cache counts as available, as in the kernel's MemAvailable, since the kernel frees it on demand. That matters
    after a crash: the cache then holds the very file that is loaded again. UNKNOWN_BYTES, a huge number that refuses nothing, if
    the machine has no figures.
    """
    available = [limit - _used_bytes(group) for group, limit in _limits(root)]
    machine = _machine_available_bytes(root)
    if machine is not None:
        available.append(machine)
    return max(min(available, default=UNKNOWN_BYTES), 0)


def _limits(root: Path) -> list[tuple[ControlGroup, int]]:
    found = []
    for group in control_groups("memory", root):
        limit = group.read_int("memory.limit_in_bytes" if group.version == 1 else "memory.max")
        if limit is not None and 0 <= limit < _NO_LIMIT_BYTES:
            found.append((group, limit))
    return found


def _used_bytes(group: ControlGroup) -> int:
    """Bytes that a group uses, without the page cache. In v1, only fields that begin with total_ include the groups below."""
    usage = group.read_int("memory.usage_in_bytes" if group.version == 1 else "memory.current") or 0
    prefix = "total_" if group.version == 1 else ""
    cache = sum(group.read_field("memory.stat", f"{prefix}{state}_file") or 0 for state in ("active", "inactive"))
    return max(usage - cache, 0)


def _machine_available_bytes(root: Path) -> int | None:
    for line in read_system_file(root / "proc/meminfo").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "MemAvailable:" and words[1].isdigit():
            return int(words[1]) * 1024
    return None
