"""Connection limits of the two listeners, derived from the limit of open files."""

from __future__ import annotations

from dataclasses import dataclass

from ..config import ServerConfig
from .open_files import count_open_files, raise_open_files_limit

# Connections of the main listener beyond its limit: probes are answered on them, other requests get a 503.
N_SPARE = 128
# Connections of the admin listener: a scraper and an operator.
N_ADMIN = 32
N_ADMIN_SPARE = 8
# Files that are not counted connections: the engine's pipes, files being read, connections being closed.
N_OTHER_FILES = 96


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of one listener: up to `n_max` connections are served, `n_spare` more answer only probes."""

    n_max: int
    n_spare: int


@dataclass(frozen=True)
class ListenerLimits:
    """Connection limits of both listeners."""

    main: ConnectionLimits
    admin: ConnectionLimits


def resolve_listener_limits(config: ServerConfig) -> ListenerLimits:
    """Raises the limit of open files as far as needed, and divides what is left among the listeners. More connections than
    files would make accept() fail."""
    n_wanted = config.n_connections_max
    n_reserved = count_open_files(N_OTHER_FILES) + N_OTHER_FILES
    n_files = raise_open_files_limit(n_wanted + n_reserved + N_SPARE + N_ADMIN + N_ADMIN_SPARE)
    return divide_connections(n_files - n_reserved, n_wanted, N_SPARE, has_admin=config.admin_port >= 0)


def divide_connections(n_files: int, n_wanted: int, n_spare: int, *, has_admin: bool) -> ListenerLimits:
    """Divides `n_files` among both listeners, if `n_wanted` connections are to be served and `n_spare` are for probes. Spare and
    admin connections take precedence. Every limit is at least 1."""
    n_spare = max(1, min(n_spare, n_files // 4))
    n_admin_spare = max(1, min(N_ADMIN_SPARE, n_files // 16))
    n_admin = max(1, min(N_ADMIN, n_files // 8))
    n_left = n_files - n_spare - (n_admin + n_admin_spare if has_admin else 0)
    main = ConnectionLimits(max(1, min(n_wanted, n_left)), n_spare)
    return ListenerLimits(main, ConnectionLimits(n_admin, n_admin_spare))
