"""Frames on the socket between client and worker: four bytes of length (little-endian), then a message in MessagePack."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

HEADER_BYTES = 4
MAX_FRAME_BYTES = 2**30

T = TypeVar("T")


class FrameError(Exception):
    """The other side sent what is not a frame."""


def frame(message: Any, encoder: msgspec.msgpack.Encoder) -> bytes:
    data = encoder.encode(message)
    return len(data).to_bytes(HEADER_BYTES, "little") + data


def frame_length(header: bytes) -> int:
    n = int.from_bytes(header, "little")
    if n > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {n} bytes")
    return n


class Channel(Generic[T]):
    """The worker's end: blocking. One thread may send while another receives."""

    def __init__(self, sock: socket.socket, receives: Any) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(receives)

    def send(self, message: Any) -> None:
        """Raises OSError if the other side is gone."""
        self._sock.sendall(frame(message, self._encoder))

    def receive(self) -> T:
        """The next message. Raises EOFError if the other side is gone."""
        data = self._exactly(frame_length(self._exactly(HEADER_BYTES)))
        return self._decoder.decode(data)

    def __iter__(self) -> Iterator[T]:
        """Messages until the other side is gone."""
        while True:
            try:
                yield self.receive()
            except (EOFError, OSError):
                return

    def _exactly(self, n: int) -> bytes:
        data = self._file.read(n)
        if len(data) < n:
            raise EOFError
        return data
