"""Accepting connections: each is counted from accept to close, its TLS handshake included, and there is always room for one more.

A connection costs a file and a timer until its first byte comes; only then its protocol is made and TLS begins. (asyncio's
own loop accepts whatever comes, knows of a connection only after its handshake, and reports each failed accept.)
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from llmcore.log import event

logger = logging.getLogger(__name__)

# Connections that wait in the kernel to be accepted, and the most that are accepted in one turn of the event loop.
BACKLOG = 100
# Where the process or the machine has no files left, for so long nothing is accepted.
PAUSE_S = 1.0
# The same where all spare connections are being answered, which takes no time.
FULL_S = 0.02
# Connections that were ended to make room, and are not closed yet.
N_CUT_MAX = 16
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# A probe comes at once: a spare connection has this long to say something, and for its one request.
SPARE_HEAD_S = 2.0
# For the peer's part of the end of TLS.
TLS_END_S = 2.0


class Occupant(Protocol):
    """The protocol of an established connection."""

    @property
    def is_answering(self) -> bool:
        """A request has come, and its answer is not complete."""

    @property
    def has_answered(self) -> bool:
        """No request is being answered, and one was."""

    def cut(self) -> None:
        """Ends the connection at once."""


@dataclass(frozen=True)
class Room:
    """Connections of one listener: `n_max` are served, `n_spare` more are told that there are too many."""

    n_max: int
    n_spare: int


class Place:
    """One accepted connection. `leave` is called when it is closed."""

    def __init__(
        self, sock: socket.socket, client: tuple[str, int], leave: Callable[[Place], None], *, is_spare: bool
    ) -> None:
        self.sock = sock
        self.client = client
        self.is_spare = is_spare
        self.is_cut = False
        self.occupant: Occupant | None = None  # None until the TLS handshake is over
        self._leave = leave

    @property
    def is_idle(self) -> bool:
        """Nothing is being answered on it, and nothing has come that is still to be."""
        if self.is_cut or (self.occupant is not None and self.occupant.is_answering):
            return False
        if self.occupant is not None and self.occupant.has_answered:
            return True  # a spare connection answers one request only
        try:
            return not self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False  # it is closed, or on the way there

    def cut(self) -> None:
        self.is_cut = True
        if self.occupant is not None:
            self.occupant.cut()
            return
        with contextlib.suppress(OSError):  # not connected any more: the handshake fails anyway
            self.sock.shutdown(socket.SHUT_RDWR)

    def leave(self) -> None:
        self._leave(self)


class Listener:
    """Listens on a bound socket. `connected` makes the protocol of a connection, which occupies the place it is given.

    Beyond the room and its spare, each connection ends the oldest spare one that says nothing, or else that is idle: probes
    are answered however many connections do nothing.
    """

    def __init__(
        self,
        sock: socket.socket,
        room: Room,
        connected: Callable[[Place], asyncio.Protocol],
        *,
        tls: ssl.SSLContext | None,
        head_s: float,
    ) -> None:
        self._sock = sock
        self._room = room
        self._connected = connected
        self._tls: dict[str, Any] = {"ssl": tls, "ssl_handshake_timeout": head_s} if tls is not None else {}
        if tls is not None and sys.version_info >= (3, 11):
            self._tls["ssl_shutdown_timeout"] = TLS_END_S
        self._head_s = head_s
        self._loop = asyncio.get_running_loop()
        self._regular: set[Place] = set()
        self._spare: dict[Place, None] = {}  # the oldest first
        self._silent: dict[Place, asyncio.TimerHandle] = {}  # those of both on which nothing has come
        self._n_cut = 0
        self._connecting: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        self._is_closed = False

    def start(self) -> None:
        self._sock.setblocking(False)
        self._sock.listen(BACKLOG)
        self._loop.add_reader(self._sock, self._accept)

    def close(self) -> None:
        """Accepts no more, and ends what says nothing or is in its handshake. Established connections stay."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)
        for place in (*self._regular, *self._spare):
            if place in self._silent:
                self._drop(place)
            elif place.occupant is None:
                place.cut()

    async def wait_closed(self) -> None:
        if self._connecting:
            await asyncio.wait(self._connecting)

    # --- accept -------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            if self._n_cut >= N_CUT_MAX:
                return  # their files are still open, for this turn of the loop or the next
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
                if self._out_of_files(error):
                    return
                continue
            if oldest is not None:
                self._end(oldest)
            self._take(sock, address[:2])

    @property
    def _is_full(self) -> bool:
        return len(self._regular) >= self._room.n_max and len(self._spare) - self._n_cut >= self._room.n_spare

    def _oldest_idle(self) -> Place | None:
        """The oldest spare connection on which nothing has come; else, the oldest on which nothing is being answered."""
        for place in self._spare:
            if place in self._silent and place.is_idle:
                return place
        return next((place for place in self._spare if place.is_idle), None)

    def _end(self, place: Place) -> None:
        if place in self._silent:
            self._drop(place)
        else:
            place.cut()
            self._n_cut += 1

    def _out_of_files(self, error: OSError) -> bool:
        """Ends a connection on which nothing has come, or else pauses. True if it pauses."""
        event(logger, logging.WARNING, "accept_failed", error=error.strerror)
        silent = next((place for place in self._silent if place.is_idle), None)
        if silent is not None and error.errno in _EXHAUSTED:
            self._drop(silent)
            return False
        self._pause_accepting(PAUSE_S)
        return True

    def _pause_accepting(self, pause_s: float) -> None:
        self._loop.remove_reader(self._sock)
        self._pause = self._loop.call_later(pause_s, self._resume_accepting)

    def _resume_accepting(self) -> None:
        self._pause = None
        self._loop.add_reader(self._sock, self._accept)

    def _take(self, sock: socket.socket, client: tuple[str, int]) -> None:
        sock.setblocking(False)
        is_spare = len(self._regular) >= self._room.n_max
        place = Place(sock, client, self._leave, is_spare=is_spare)
        if is_spare:
            self._spare[place] = None
        else:
            self._regular.add(place)
        patience_s = min(self._head_s, SPARE_HEAD_S) if is_spare else self._head_s
        self._silent[place] = self._loop.call_later(patience_s, self._late, place)
        self._loop.add_reader(sock, self._speaks, place)

    def _leave(self, place: Place) -> None:
        if place in self._spare:
            del self._spare[place]
            self._n_cut -= place.is_cut
        self._regular.discard(place)

    # --- until a connection is established ----------------------------------------------------------------------------

    def _listen_no_more(self, place: Place) -> None:
        self._silent.pop(place).cancel()
        self._loop.remove_reader(place.sock)

    def _drop(self, place: Place) -> None:
        self._listen_no_more(place)
        place.sock.close()
        place.leave()

    def _late(self, place: Place) -> None:
        event(logger, logging.WARNING, "connection_silent", client=place.client)
        self._drop(place)

    def _speaks(self, place: Place) -> None:
        try:
            has_ended = not place.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            has_ended = True
        if has_ended:
            self._drop(place)
            return
        self._listen_no_more(place)
        task = self._loop.create_task(self._connect(place))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, place: Place) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: self._connected(place), place.sock, **self._tls)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # A peer that only knocks (a balancer's check) is nothing to tell of.
            level = logging.WARNING if isinstance(error, (ssl.SSLError, ConnectionAbortedError)) else logging.DEBUG
            reason = getattr(error, "reason", None) or str(error)
            event(logger, level, "handshake_failed", error=reason, client=place.client)
        finally:
            if place.occupant is None:  # it was closed before it could say anything
                place.leave()
