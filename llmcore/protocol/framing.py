"""Frames on the socket between client and worker: four bytes of length (little-endian), then a message in MessagePack."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import msgspec

HEADER_BYTES = 4
MAX_FRAME_BYTES = 2**30

T = TypeVar("T")


class FrameError(ValueError):
    """The other side sent bytes that are no frame, or a message is too large for one."""


def check_size(n: int) -> None:
    """Raises FrameError if a message of n bytes is too large for a frame."""
    if n > MAX_FRAME_BYTES:
        raise FrameError(f"a message of {n} bytes, where {MAX_FRAME_BYTES} are allowed")


def frame(message: Any, encoder: msgspec.msgpack.Encoder) -> bytes:
    """Encodes a message as a frame. Raises FrameError, or what the encoder raises (TypeError, ValueError, OverflowError)."""
    data = encoder.encode(message)
    check_size(len(data))
    return len(data).to_bytes(HEADER_BYTES, "little") + data


def frame_length(header: bytes) -> int:
    """Length of the message behind a header. Raises FrameError."""
    n = int.from_bytes(header, "little")
    check_size(n)
    return n


class FrameBuffer:
    """Bytes that arrive in pieces of any size, cut into frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Takes bytes that have arrived. Returns the messages whose frames are complete by now. Raises FrameError."""
        self._bytes += data
        while (message := self._next()) is not None:
            yield message

    def _next(self) -> bytes | None:
        """Takes the first message out of the buffer. None if its frame is not complete."""
        if len(self._bytes) < HEADER_BYTES:
            return None
        end = HEADER_BYTES + frame_length(bytes(self._bytes[:HEADER_BYTES]))
        if len(self._bytes) < end:
            return None
        message = bytes(self._bytes[HEADER_BYTES:end])
        del self._bytes[:end]
        return message


class Channel(Generic[T]):
    """A blocking end of the socket. One thread may send while another receives.

    `unreadable`, if given, makes a substitute for a message that cannot be decoded. The messages after it are read as usual,
    since each frame begins with its length.
    """

    def __init__(
        self, sock: socket.socket, receives: Any, unreadable: Callable[[bytes, Exception], T] | None = None
    ) -> None:
        self._sock = sock
        self._unreadable = unreadable
        self._file = sock.makefile("rb")
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(receives)

    def send(self, message: Any) -> None:
        """Sends a message. Raises OSError if the other side is gone, and what frame() raises; then nothing is sent."""
        self._sock.sendall(frame(message, self._encoder))

    def receive(self) -> T:
        """Waits for the next message. Raises EOFError if the other side is gone, FrameError for bytes that are no frame."""
        data = self._exactly(frame_length(self._exactly(HEADER_BYTES)))
        try:
            return self._decoder.decode(data)
        except Exception as error:
            if self._unreadable is None:
                raise
            return self._unreadable(data, error)

    def __iter__(self) -> Iterator[T]:
        """Yields messages until the other side is gone."""
        while True:
            try:
                yield self.receive()
            except (EOFError, OSError):
                return
            except ValueError:
                if self._file.closed:
                    return
                raise

    def close(self) -> None:
        """Ends the connection, also for a thread that waits in receive(). Idempotent. The caller closes the socket itself."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._file.close()

    def _exactly(self, n: int) -> bytes:
        data = self._file.read(n)
        if len(data) < n:
            raise EOFError
        return data
