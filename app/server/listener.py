"""Listener that counts each connection from accept to close, including its TLS handshake, and always keeps room for a probe.

A new connection costs a file and a timer until its first byte arrives; only then its protocol is created and TLS begins. asyncio's
own server does not limit connections, reports a connection only after its handshake, and logs every failed accept.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

from llmcore.log import event

from .accepted_connection import SPARE_HEAD_S, AcceptedConnection
from .connection_limits import ConnectionLimits

logger = logging.getLogger(__name__)

# Length of the kernel's queue of connections, and the most that are accepted in one turn of the event loop.
BACKLOG = 100
# Seconds without accepting after the process or the machine has run out of files.
PAUSE_S = 1.0
# Seconds without accepting while every spare connection is answering a request, which is quick.
FULL_S = 0.02
# The most connections that were aborted to make room and whose files are still open.
N_ABORTED_MAX = 16
# Seconds for the client to confirm the end of TLS.
TLS_END_S = 2.0
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Listener:
    """Listens on a bound socket, in the running event loop.

    `create_protocol` returns the protocol of a connection, which must set `connection.protocol` and call `connection.release()`
    when it is lost. `head_s` is the time for the first byte and for the TLS handshake.

    At `limits.n_max + limits.n_spare` connections, each new one evicts the oldest spare connection that has sent nothing, or else
    the oldest that is idle. So probes are answered however many connections are open.
    """

    def __init__(
        self,
        sock: socket.socket,
        limits: ConnectionLimits,
        create_protocol: Callable[[AcceptedConnection], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        head_s: float,
    ) -> None:
        self._sock = sock
        self._limits = limits
        self._create_protocol = create_protocol
        self._tls: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": head_s} if tls is not None else {}
        if tls is not None and sys.version_info >= (3, 11):
            self._tls["ssl_shutdown_timeout"] = TLS_END_S
        self._head_s = head_s
        self._loop = asyncio.get_running_loop()
        self._regular: set[AcceptedConnection] = set()
        self._spare: dict[AcceptedConnection, None] = {}  # oldest first
        self._silent: dict[AcceptedConnection, asyncio.TimerHandle] = {}  # of both: those that have sent nothing
        self._n_aborted = 0
        self._connecting: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False

    def start(self) -> None:
        """Begins to accept."""
        self._sock.setblocking(False)
        self._sock.listen(BACKLOG)
        self._loop.add_reader(self._sock, self._accept)

    def close(self) -> None:
        """Stops accepting, and ends connections that are silent or in their handshake. Established ones stay."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        for connection in (*self._regular, *self._spare):
            if connection in self._silent:
                self._drop(connection)
            elif connection.protocol is None:
                connection.abort()

    async def wait_closed(self) -> None:
        """Waits until no handshake is under way."""
        if self._connecting:
            await asyncio.wait(self._connecting)

    # --- Accepting ----------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            if self._n_aborted >= N_ABORTED_MAX:
                return  # their files are closed in this turn of the loop or the next
            oldest = self._oldest_idle() if self._is_full else None
            if self._is_full and oldest is None:
                self._pause_accepting(FULL_S)
                return
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if self._make_room(error):
                    continue
                self._pause_accepting(PAUSE_S)
                return
            if oldest is not None:
                self._evict(oldest)
            self._add(sock, address[:2])

    @property
    def _is_full(self) -> bool:
        n_spare = len(self._spare) - self._n_aborted
        return len(self._regular) >= self._limits.n_max and n_spare >= self._limits.n_spare

    def _oldest_idle(self) -> AcceptedConnection | None:
        """Returns the oldest silent spare connection, or else the oldest idle one."""
        for connection in self._spare:
            if connection in self._silent and connection.is_idle:
                return connection
        return next((connection for connection in self._spare if connection.is_idle), None)

    def _evict(self, connection: AcceptedConnection) -> None:
        if connection in self._silent:
            self._drop(connection)
        else:
            connection.abort()
            self._n_aborted += 1

    def _make_room(self, error: OSError) -> bool:
        """Logs a failed accept. Drops a silent connection if files have run out; False if there is nothing to drop."""
        event(logger, logging.WARNING, "accept_failed", error=error.strerror)
        silent = next((connection for connection in self._silent if connection.is_idle), None)
        if silent is None or error.errno not in _EXHAUSTED:
            return False
        self._drop(silent)
        return True

    def _pause_accepting(self, pause_s: float) -> None:
        self._loop.remove_reader(self._sock)
        self._pause = self._loop.call_later(pause_s, self._resume_accepting)

    def _resume_accepting(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock, self._accept)

    def _add(self, sock: socket.socket, client: tuple[str, int]) -> None:
        sock.setblocking(False)
        is_spare = len(self._regular) >= self._limits.n_max
        connection = AcceptedConnection(sock, client, self._remove, is_spare=is_spare)
        if is_spare:
            self._spare[connection] = None
        else:
            self._regular.add(connection)
        timeout_s = min(self._head_s, SPARE_HEAD_S) if is_spare else self._head_s
        self._silent[connection] = self._loop.call_later(timeout_s, self._on_silence, connection)
        self._loop.add_reader(sock, self._on_first_byte, connection)

    def _remove(self, connection: AcceptedConnection) -> None:
        if connection in self._spare:
            del self._spare[connection]
            self._n_aborted -= connection.is_aborted
        self._regular.discard(connection)

    # --- Until a connection is established ----------------------------------------------------------------------------

    def _stop_watching(self, connection: AcceptedConnection) -> None:
        self._silent.pop(connection).cancel()
        self._loop.remove_reader(connection.sock)

    def _drop(self, connection: AcceptedConnection) -> None:
        """Closes a silent connection."""
        self._stop_watching(connection)
        connection.sock.close()
        connection.release()

    def _on_silence(self, connection: AcceptedConnection) -> None:
        event(logger, logging.WARNING, "connection_silent", client=connection.client)
        self._drop(connection)

    def _on_first_byte(self, connection: AcceptedConnection) -> None:
        try:
            has_ended = not connection.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            has_ended = True
        if has_ended:
            self._drop(connection)
            return
        self._stop_watching(connection)
        task = self._loop.create_task(self._connect(connection))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: AcceptedConnection) -> None:
        """Performs the TLS handshake, if any, and hands the socket to its protocol."""
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._create_protocol(connection), connection.sock, **self._tls
            )
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # Load balancers check a port by connecting and closing: no more than a debug line.
            level = logging.WARNING if isinstance(error, (ssl.SSLError, ConnectionAbortedError)) else logging.DEBUG
            reason = getattr(error, "reason", None) or str(error)
            event(logger, level, "handshake_failed", error=reason, client=connection.client)
        finally:
            if connection.protocol is None:  # closed before it was established
                connection.release()
