"""How much memory this process may still take: the machine's, and its control groups' limits."""

from __future__ import annotations

from pathlib import Path

from llmcore.machine.cgroup import ControlGroup, control_groups

# v1 writes "no limit" as the largest multiple of the page size below 2**63.
_NO_LIMIT_BYTES = 2**60
UNKNOWN_BYTES = 2**63 - 1


def memory_limit_bytes(root: Path = Path("/")) -> int | None:
    """The lowest memory limit of this process's control groups and their ancestors, None without one."""
    return min((limit for _, limit in _limits(root)), default=None)


def memory_available_bytes(root: Path = Path("/")) -> int:
    """What can be allocated before the machine or a control group runs out, in bytes; never negative.

    The page cache counts as available, as in the kernel's MemAvailable: it goes when somebody needs the room. That
    matters here, since the cache holds the very file that is to be loaded again after a crash. UNKNOWN_BYTES where the
    machine tells nothing: no reason to refuse anything.
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
    """Without the page cache. v1's fields of that name leave out the groups below; those with total_ do not."""
    usage = group.read_int("memory.usage_in_bytes" if group.version == 1 else "memory.current") or 0
    prefix = "total_" if group.version == 1 else ""
    cache = sum(group.read_field("memory.stat", f"{prefix}{state}_file") or 0 for state in ("active", "inactive"))
    return max(usage - cache, 0)


def _machine_available_bytes(root: Path) -> int | None:
    try:
        lines = (root / "proc/meminfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "MemAvailable:" and words[1].isdigit():
            return int(words[1]) * 1024
    return None
