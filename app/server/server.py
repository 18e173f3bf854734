"""uvicorn.Server with our listener and a drain phase."""

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

from llmcore.log import event

from ..config import ServerConfig
from ..service.service import Service
from .accepted_connection import AcceptedConnection
from .connection import Connection, ConnectionTimeouts
from .connection_limits import ConnectionLimits, resolve_listener_limits
from .listener import Listener

logger = logging.getLogger(__name__)

# Seconds after the drain: every answer has ended by then, and clients that do not read what was sent are disconnected.
GRACE_S = 3


def _uvicorn_options(config: ServerConfig) -> dict[str, Any]:
    """Returns the options of both listeners. tls.check_certificate() has checked the files."""
    return {
        # service/telemetry.py logs requests. h11 is fixed, so that every installation behaves the same.
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


def _connection_timeouts(config: ServerConfig) -> ConnectionTimeouts:
    return ConnectionTimeouts(config.head_timeout_s, config.body_timeout_s, config.send_timeout_s)


class _ListeningServer(uvicorn.Server):
    """uvicorn's server with our Listener for each socket."""

    def __init__(self, config: uvicorn.Config, limits: ConnectionLimits, timeouts: ConnectionTimeouts) -> None:
        super().__init__(config)
        self._limits = limits
        self._timeouts = timeouts

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Runs the lifespan's startup, then begins to accept."""
        await super().startup(sockets=[])  # runs the lifespan; the sockets are listened to below
        for sock in sockets or ():
            listener = Listener(
                sock, self._limits, self._create_protocol, tls=self.config.ssl, head_s=self._timeouts.head_s
            )
            listener.start()
            self.servers.append(listener)  # type: ignore[arg-type]  # uvicorn only closes them

    def _create_protocol(self, accepted: AcceptedConnection) -> Connection:
        return Connection(accepted, self._timeouts, self.config, self.server_state, self.lifespan.state)


class Server(_ListeningServer):
    """The main server: startup, main loop and shutdown are uvicorn's; a drain precedes the shutdown.

    The first SIGTERM, SIGINT or SIGHUP (closed terminal) begins the drain. The port stays open meanwhile, so that new requests
    get a 503. A second SIGTERM or SIGINT exits at once; the engine's process exits when its socket closes. A second SIGHUP does
    nothing, because shells and service managers send it together with another signal.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        config = service.config
        limits = resolve_listener_limits(config).main
        if limits.n_max < config.n_connections_max:
            event(logger, logging.WARNING, "connections_limited", n_max=limits.n_max, wanted=config.n_connections_max)
        options = uvicorn.Config(app, lifespan="on", **_uvicorn_options(config))
        super().__init__(options, limits, _connection_timeouts(config))
        self._service = service
        self._is_terminating = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles SIGHUP, SIGTERM and SIGINT within the context."""
        previous = signal.getsignal(signal.SIGHUP)
        # Under nohup SIGHUP is ignored and stays so. Only the main thread can set handlers.
        is_ours = previous == signal.SIG_DFL and threading.current_thread() is threading.main_thread()
        if is_ours:
            signal.signal(signal.SIGHUP, self.handle_exit)
        try:
            with super().capture_signals():
                yield
        finally:
            if is_ours:
                signal.signal(signal.SIGHUP, previous)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins the drain, or exits at the second signal. Replaces uvicorn's method, which raises the signal again at the end, so
        that the exit status would show a failure."""
        self.should_exit = True
        if sig == signal.SIGHUP:
            return
        if self._is_terminating:
            os._exit(128 + sig)
        self._is_terminating = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains the service, then shuts down."""
        await self._service.drain(self._service.config.drain_s)
        await super().shutdown(sockets)


class AdminServer(_ListeningServer):
    """The server of the admin port. It handles no signals and is stopped after the main server's drain, which can therefore be
    observed."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        config = service.config
        options = uvicorn.Config(app, lifespan="off", **_uvicorn_options(config))
        super().__init__(options, resolve_listener_limits(config).admin, _connection_timeouts(config))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles no signals."""
        yield


def ignore_hang_ups() -> None:
    """Ignores SIGHUP from now on: while the process exits, it must not change the exit status."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
