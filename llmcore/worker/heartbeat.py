"""The worker's sign of life: a few bytes of memory that it shares with its client.

Memory, and not messages, for two reasons: writing it wakes nobody up, so it may be written in every step; and it can still be
read when the worker is gone, however it went. It holds a heartbeat, how long the worker may be silent from there on, and whom
it was working for (request ids, or ids of calls): by its engine's thread, and by the one that compiles constraints. Last, why
it is about to end, where it knows.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Collection
from typing import NamedTuple

import msgspec

# What is loaded may be large, and the disk slow; measuring it computes full caches.
LOADING_S = 3600.0

_HEARTBEAT = struct.Struct("<Qd")
_LENGTH = struct.Struct("<I")
_REGION_BYTES = 64 * 1024
_STEP, _COMPILING = 64, 64 + _REGION_BYTES  # where each region begins
_CAUSE, _CAUSE_BYTES = _COMPILING + _REGION_BYTES, 4096
_SIZE = _CAUSE + _CAUSE_BYTES

Ids = Collection[str | int]


class HeartbeatReading(NamedTuple):
    """`n` grows with each beat; the next one may take `allowance_s` longer than usual."""

    n: int
    allowance_s: float


class Heartbeat:
    """One life of a worker. The worker's two threads write regions of their own; the client only reads."""

    def __init__(self, fd: int | None = None) -> None:
        """The client makes one, and hands its `fd` on; the worker opens that. Raises OSError."""
        self.fd = os.memfd_create("llmcore-pulse") if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, _SIZE)
        self._memory = mmap.mmap(self.fd, _SIZE)
        self._n = 0
        self._told: dict[int, Ids] = {_STEP: (), _COMPILING: ()}
        if fd is None:
            self.beat(LOADING_S)

    def close(self) -> None:
        """Safe to call twice."""
        if not self._memory.closed:
            self._memory.close()
            os.close(self.fd)

    # --- The worker's side --------------------------------------------------------------------------------------------

    def beat(self, allowance_s: float = 0.0) -> None:
        """I am alive, and may be silent for so much longer than usual."""
        self._n += 1
        _HEARTBEAT.pack_into(self._memory, 0, self._n, allowance_s)

    def serve(self, ids: Ids) -> None:
        """What the engine's thread does from here on is for these. Costs nothing if they are the same as before."""
        self._tell(_STEP, ids)

    def compile(self, ids: Ids) -> None:
        """The same of the thread that compiles constraints."""
        self._tell(_COMPILING, ids)

    def set_cause(self, text: str) -> None:
        """Why this process is about to end: an abort's message, or an exception. What is too long is cut."""
        data = text.encode("utf-8", "backslashreplace")[: _CAUSE_BYTES - _LENGTH.size]
        start = _CAUSE + _LENGTH.size
        self._memory[start : start + len(data)] = data
        _LENGTH.pack_into(self._memory, _CAUSE, len(data))

    def _tell(self, region: int, ids: Ids) -> None:
        if ids == self._told[region]:
            return
        self._told[region] = ids
        data = msgspec.msgpack.encode(list(ids))
        if len(data) > _REGION_BYTES - _LENGTH.size:
            data = b""  # blames nobody
        # The length last: whoever dies in between has told of nobody, not of others.
        _LENGTH.pack_into(self._memory, region, 0)
        start = region + _LENGTH.size
        self._memory[start : start + len(data)] = data
        _LENGTH.pack_into(self._memory, region, len(data))

    # --- The client's side --------------------------------------------------------------------------------------------

    def heartbeat(self) -> HeartbeatReading:
        return HeartbeatReading(*_HEARTBEAT.unpack_from(self._memory, 0))

    def served(self) -> set[str | int]:
        """Whom the worker was working for. Of one that is alive, what is read may be half written: then nobody."""
        return self._read(_STEP) | self._read(_COMPILING)

    def cause(self) -> str:
        """Returns the text of set_cause(); "" if there was none."""
        return self._data(_CAUSE, _CAUSE_BYTES).decode("utf-8", "replace")

    def _data(self, region: int, size: int) -> bytes:
        (length,) = _LENGTH.unpack_from(self._memory, region)
        start = region + _LENGTH.size
        return self._memory[start : start + min(length, size - _LENGTH.size)]

    def _read(self, region: int) -> set[str | int]:
        data = self._data(region, _REGION_BYTES)
        try:
            return set(msgspec.msgpack.decode(data, type=list[str | int])) if data else set()
        except msgspec.DecodeError:
            return set()
