"""Open files of the process, shared out among its listeners: nobody's connections may take what others need."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass

from .listener import Room

# Files that are no connections of either room: the engine's pipes, files that are read, connections on their way out.
N_OTHER_FILES = 96
# Connections of the admin listener: a scraper, somebody with curl.
N_ADMIN = 32
N_ADMIN_SPARE = 8
N_ADMIN_FILES = N_ADMIN + N_ADMIN_SPARE
# A limit beyond this is none; some programs walk through all of them.
N_FILES_MAX = 2**20


@dataclass(frozen=True)
class Rooms:
    """Connections of both listeners."""

    main: Room
    admin: Room


def raise_limit(n_wanted: int) -> int:
    """Raises the soft limit of open files to the hard one, as far as that is of use. Returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(N_FILES_MAX, n_wanted)
    if soft == resource.RLIM_INFINITY:
        return most
    aim = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft < aim:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (aim, hard))
        except (OSError, ValueError):  # a sandbox that forbids it
            return soft
        soft = aim
    return soft


def n_open() -> int:
    """Files that are open now."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return N_OTHER_FILES


def divide_connections(n_left: int, n_wanted: int, n_spare: int, *, has_admin: bool) -> Rooms:
    """The rooms for `n_left` files, where `n_wanted` connections are to be served. The spare ones come first: they are for
    probes."""
    n_spare = max(1, min(n_spare, n_left // 4))
    n_admin_spare = max(1, min(N_ADMIN_SPARE, n_left // 16))
    n_admin = max(1, min(N_ADMIN, n_left // 8))
    n_left -= n_spare + (n_admin + n_admin_spare if has_admin else 0)
    return Rooms(Room(max(1, min(n_wanted, n_left)), n_spare), Room(n_admin, n_admin_spare))
