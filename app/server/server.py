"""uvicorn, with an end that suits answers which take a while."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from llmcore.errors import ConfigError
from llmcore.log import event

from ..config import ServerConfig
from ..service.service import Service
from . import connection, open_files
from .connection import Connection, ConnectionTimeouts
from .listener import Listener, Place, Room
from .open_files import Rooms

logger = logging.getLogger(__name__)

# After the drain every answer has ended: what is left are clients that do not read what was sent to them.
GRACE_S = 3
# What the kernel holds of an answer that nobody reads, besides what uvicorn holds (64 KiB): enough for any stream, and
# little enough that a stalled reader is found out before a long answer is over.
SEND_BUFFER_BYTES = 128 * 2**10


def _settings(config: ServerConfig) -> dict[str, Any]:
    """Of both listeners. tls.check_certificate has looked at the files."""
    return {
        # Logging is ours (telemetry.py). h11 is always there, so every installation behaves the same.
        "log_config": None,
        "log_level": "warning",
        "access_log": False,
        "http": "h11",
        "ws": "none",
        "server_header": False,
        "timeout_graceful_shutdown": GRACE_S,
        "ssl_certfile": config.tls_cert or None,
        "ssl_keyfile": config.tls_key or None,
    }


class _Listening(uvicorn.Server):
    """uvicorn's server with a listener of ours for each socket."""

    def __init__(self, config: uvicorn.Config, room: Room, patience: ConnectionTimeouts) -> None:
        super().__init__(config)
        self._room = room
        self._patience = patience

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])  # the lifespan; nothing to listen on
        for sock in sockets or ():
            listener = Listener(sock, self._room, self._connected, tls=self.config.ssl, head_s=self._patience.head_s)
            listener.start()
            self.servers.append(listener)  # type: ignore[arg-type]  # all that is asked of it is to close

    def _connected(self, place: Place) -> Connection:
        return Connection(place, self._patience, self.config, self.server_state, self.lifespan.state)


class Server(_Listening):
    """Reads top-down: startup, main loop, shutdown (uvicorn's), with a drain before the last.

    The first SIGTERM, SIGINT or SIGHUP (a terminal was closed) begins the drain, during which the port stays open, so that new
    requests are told to go elsewhere. A second SIGTERM or SIGINT ends the process at once; the engine's process ends with it,
    since its socket does. SIGHUP does not count for that: shells and service managers send it beside another signal.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        config = service.config
        room = rooms(config).main
        if room.n_max < config.n_connections_max:
            event(logger, logging.WARNING, "connections_limited", n_max=room.n_max, wanted=config.n_connections_max)
        super().__init__(uvicorn.Config(app, lifespan="on", **_settings(config)), room, patience(config))
        self._service = service
        self._is_told_to_end = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = signal.getsignal(signal.SIGHUP)
        # Under nohup it is ignored, and stays so. Python has no handlers in other threads than the main one.
        is_ours = before == signal.SIG_DFL and threading.current_thread() is threading.main_thread()
        if is_ours:
            signal.signal(signal.SIGHUP, self.handle_exit)
        try:
            with super().capture_signals():
                yield
        finally:
            if is_ours:
                signal.signal(signal.SIGHUP, before)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not uvicorn's: it would raise the signal again at the end, and the exit status would tell of a failure.
        self.should_exit = True
        if sig == signal.SIGHUP:
            return
        if self._is_told_to_end:
            os._exit(128 + sig)
        self._is_told_to_end = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._service.drain(self._service.config.drain_s)
        await super().shutdown(sockets)


class AdminServer(_Listening):
    """The second listener. Signals are the first one's affair, after whose drain this one ends: a drain can be watched."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        config = service.config
        super().__init__(
            uvicorn.Config(app, lifespan="off", **_settings(config)), rooms(config).admin, patience(config)
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def ignore_hang_ups() -> None:
    """Ignores SIGHUP from here on: one that arrives while the process ends must not change its status."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def patience(config: ServerConfig) -> ConnectionTimeouts:
    return ConnectionTimeouts(config.head_timeout_s, config.body_timeout_s, config.send_timeout_s)


def rooms(config: ServerConfig) -> Rooms:
    """How many connections each listener takes: no more than there can be open files, lest accepting itself fails."""
    n_wanted = config.n_connections_max
    n_reserved = open_files.n_open() + open_files.N_OTHER_FILES
    n_files = open_files.raise_limit(n_wanted + n_reserved + connection.N_SPARE + open_files.N_ADMIN_FILES)
    return open_files.divide_connections(
        n_files - n_reserved, n_wanted, connection.N_SPARE, has_admin=config.admin_port >= 0
    )


def bind(host: str, port: int, *, option: str = "port") -> socket.socket:
    """A socket bound to the address. Raises ConfigError. Done first, since nothing is worth loading without a port."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"cannot listen on {host}: {reason}", param="host") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # accepted ones inherit it
        sock.bind(address)
    except OSError as error:
        sock.close()
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(f"cannot listen on {host} port {port}: {reason}", param=option) from None
    return sock


def url_of(sock: socket.socket, scheme: str = "http") -> str:
    """Where a bound socket can be reached."""
    host, port = sock.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
