"""The control groups that limit this process: its own and all their ancestors, of cgroup v1, v2, or both at once.

Sources: cgroups(7), proc_pid_mountinfo(5), and Documentation/admin-guide/cgroup-{v1,v2} of Linux. A limit anywhere on
the way up counts. Only what is mounted can be seen: in a container, usually its own group.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class ControlGroup:
    """One group: its folder in the cgroup file system, of hierarchy `version` 1 or 2."""

    version: int
    folder: Path

    def read(self, name: str) -> str | None:
        """The text of one of its files, None if it is not there or cannot be read."""
        try:
            return (self.folder / name).read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return None

    def read_int(self, name: str) -> int | None:
        """A file that holds one whole number; None also for "max"."""
        return _int(self.read(name))

    def read_field(self, name: str, key: str) -> int | None:
        """From a file with lines `key value`."""
        for line in (self.read(name) or "").splitlines():
            words = line.split()
            if len(words) == 2 and words[0] == key:
                return _int(words[1])
        return None


@dataclass(frozen=True)
class _Mount:
    """A mounted hierarchy: `top` is the group that is visible at `point`."""

    version: int
    controllers: frozenset[str]
    top: PurePosixPath
    point: PurePosixPath


def control_groups(controller: str, root: Path = Path("/")) -> tuple[ControlGroup, ...]:
    """The groups that may limit this process by a v1 controller ("cpu", "memory") or its v2 counterpart, from its own
    up to the topmost visible one. On a machine with both hierarchies those of both; the files tell where the controller
    is.

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
    """The visible groups from `own` to the top of a mount; none where the mount shows somebody else's."""
    folders = [mount.point]
    if ".." in (*own.parts, *mount.top.parts):
        # One of them lies outside of this cgroup namespace: the mount's top is the nearest group that can be seen.
        below: tuple[str, ...] = ()
    elif own.is_relative_to(mount.top):
        below = own.relative_to(mount.top).parts
    else:
        return []
    for part in below:
        folders.append(folders[-1] / part)
    return [ControlGroup(mount.version, root / each.relative_to("/")) for each in reversed(folders)]


def _own_paths(root: Path) -> dict[str, PurePosixPath]:
    """Controller → path of this process's group; "" stands for the v2 hierarchy."""
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
