"""The control groups that limit this process: its own and their ancestors, of cgroup v1, v2, or both at once.

Sources: cgroups(7), proc_pid_mountinfo(5), and Documentation/admin-guide/cgroup-{v1,v2} of Linux. The limit of any ancestor
counts. Only mounted groups are visible: in a container, usually its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from llmcore.machine.system_files import read_system_file


@dataclass(frozen=True)
class ControlGroup:
    """One group: its folder in the cgroup file system, and the version of its hierarchy (1 or 2)."""

    version: int
    folder: Path

    def read(self, name: str) -> str | None:
        """Returns the text of one of its files, None if it is missing, empty, or cannot be read."""
        return read_system_file(self.folder / name) or None

    def read_int(self, name: str) -> int | None:
        """Returns the whole number in a file; None also for "max"."""
        return _int(self.read(name))

    def read_field(self, name: str, key: str) -> int | None:
        """Returns the number of a key in a file with lines `key value`."""
        for line in (self.read(name) or "").splitlines():
            words = line.split()
            if len(words) == 2 and words[0] == key:
                return _int(words[1])
        return None


@dataclass(frozen=True)
class _Mount:
    """A mounted hierarchy: the group `top` is visible at the path `point`."""

    version: int
    controllers: frozenset[str]
    top: PurePosixPath
    point: PurePosixPath


def control_groups(controller: str, root: Path = Path("/")) -> tuple[ControlGroup, ...]:
    """Returns the groups that may limit this process by a v1 controller ("cpu", "memory") or its v2 counterpart, from its own up
    to the topmost visible one; on a machine with both hierarchies, the groups of both.

    Args:
        root: where /proc and /sys are (for tests).
    """
    paths = _own_paths(root)
    groups: list[ControlGroup] = []
    for mount in _mounts(root):
        if mount.version == 1 and controller not in mount.controllers:
            continue
        own = paths.get(controller if mount.version == 1 else "")
        if own is not None:
            groups += _upwards(mount, own, root)
    return tuple(dict.fromkeys(groups))


def _upwards(mount: _Mount, own: PurePosixPath, root: Path) -> list[ControlGroup]:
    """Returns the visible groups from `own` to the top of a mount; none if the mount does not contain `own`."""
    folders = [mount.point]
    if ".." in (*own.parts, *mount.top.parts):
        # One of them is outside of this cgroup namespace: the mount's top is the nearest visible group.
        below: tuple[str, ...] = ()
    elif own.is_relative_to(mount.top):
        below = own.relative_to(mount.top).parts
    else:
        return []
    for part in below:
        folders.append(folders[-1] / part)
    return [ControlGroup(mount.version, root / each.relative_to("/")) for each in reversed(folders)]


def _own_paths(root: Path) -> dict[str, PurePosixPath]:
    """Maps each controller to the path of this process's group; "" stands for the v2 hierarchy."""
    paths: dict[str, PurePosixPath] = {}
    for line in _lines(root / "proc/self/cgroup"):
        fields = line.split(":", 2)
        if len(fields) == 3 and fields[2].startswith("/"):
            for controller in fields[1].split(","):
                paths[controller] = PurePosixPath(fields[2])
    return paths


def _mounts(root: Path) -> list[_Mount]:
    mounts: list[_Mount] = []
    for line in _lines(root / "proc/self/mountinfo"):
        before, found, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if not found or len(fields) < 6 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        top, point = (PurePosixPath(_unescape(text)) for text in fields[3:5])
        if point.is_absolute():
            mounts.append(_Mount(2 if kind[0] == "cgroup2" else 1, frozenset(kind[2].split(",")), top, point))
    return mounts


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _unescape(text: str) -> str:
    # The kernel writes space, tab, newline and backslash as \ooo.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _int(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
