"""One accepted connection, from accept to close."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Protocol

# A spare connection has this many seconds for its first byte, and again for the head of its only request: probes come at once.
SPARE_HEAD_S = 2.0


class ConnectionProtocol(Protocol):
    """The HTTP protocol of an established connection, as the listener sees it."""

    @property
    def is_answering(self) -> bool:
        """True if a request has arrived and its response is not complete."""

    @property
    def has_answered(self) -> bool:
        """True if a response is complete and no other request is being answered."""

    def abort(self) -> None:
        """Closes the connection at once."""


class AcceptedConnection:
    """A connection that counts towards its listener's limits until `release` is called.

    `protocol` is None until the first byte has arrived and the TLS handshake, if any, is over. `is_spare`: it is beyond the
    limit of served connections, so it answers only probes.
    """

    def __init__(
        self,
        sock: socket.socket,
        client: tuple[str, int],
        on_release: Callable[[AcceptedConnection], None],
        *,
        is_spare: bool,
    ) -> None:
        self.sock = sock
        self.client = client
        self.is_spare = is_spare
        self.is_aborted = False
        self.protocol: ConnectionProtocol | None = None
        self._on_release = on_release

    @property
    def is_idle(self) -> bool:
        """True if no request is being answered and no received bytes wait to be read."""
        if self.is_aborted or (self.protocol is not None and self.protocol.is_answering):
            return False
        if self.protocol is not None and self.protocol.has_answered:
            return True  # a spare connection answers one request only
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False  # closed, or about to be

    def abort(self) -> None:
        """Closes the connection at once. `release` follows when its protocol or handshake has ended."""
        self.is_aborted = True
        if self.protocol is not None:
            self.protocol.abort()
            return
        with contextlib.suppress(OSError):  # no longer connected: the handshake fails anyway
            self.sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Gives its place among the listener's connections back. To be called once, when it is closed."""
        self._on_release(self)
