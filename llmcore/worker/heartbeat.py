"""The heartbeat of a worker: a few pages of memory that the worker writes and its client reads.

Shared memory, and not messages, for two reasons: a write wakes nobody up, so the worker can write in every step; and the client
can still read it when the worker is gone, however it ended. It holds four things: a counter of beats; how much longer than usual
the next beat may take; the ids of the requests and calls in work, separately for the engine's thread and for the threads that
prepare requests; and the cause of the worker's end, if the worker knew it.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Collection
from typing import NamedTuple

import msgspec

# Seconds that loading may take: the model may be large and the disk slow, and measuring a model computes full caches.
LOADING_S = 3600.0

_BEAT = struct.Struct("<Qd")
_LENGTH = struct.Struct("<I")
_REGION_BYTES = 64 * 1024
_STEP, _PREPARING = 64, 64 + _REGION_BYTES  # where each region begins
_CAUSE, _CAUSE_BYTES = _PREPARING + _REGION_BYTES, 4096
_SIZE = _CAUSE + _CAUSE_BYTES

Ids = Collection[str | int]  # of requests (str) and of calls (int)


class HeartbeatReading(NamedTuple):
    """`n` grows with each beat. The next beat may take `allowance_s` longer than usual."""

    n: int
    allowance_s: float


class Heartbeat:
    """The heartbeat of one worker process. The engine's thread and the preparing threads write regions of their own."""

    def __init__(self, fd: int | None = None) -> None:
        """Makes the memory (the client), or maps that of the file descriptor `fd` (the worker). Raises OSError."""
        self.fd = os.memfd_create("llmcore-heartbeat") if fd is None else fd
        if fd is None:
            os.ftruncate(self.fd, _SIZE)
        self._memory = mmap.mmap(self.fd, _SIZE)
        self._n = 0
        self._written: dict[int, Ids] = {_STEP: (), _PREPARING: ()}
        if fd is None:
            self.beat(LOADING_S)

    def close(self) -> None:
        """Unmaps the memory. Idempotent."""
        if not self._memory.closed:
            self._memory.close()
            os.close(self.fd)

    # --- The worker's side --------------------------------------------------------------------------------------------

    def beat(self, allowance_s: float = 0.0) -> None:
        """Counts a beat. The next one may take `allowance_s` longer than usual."""
        self._n += 1
        _BEAT.pack_into(self._memory, 0, self._n, allowance_s)

    def set_step_ids(self, ids: Ids) -> None:
        """Sets the ids that the engine's thread works for from here on. Costs nothing if they are the same as before."""
        self._write_ids(_STEP, ids)

    def set_preparing_ids(self, ids: Ids) -> None:
        """Sets the ids that the preparing threads work for."""
        self._write_ids(_PREPARING, ids)

    def set_cause(self, text: str) -> None:
        """Sets why this process is about to end: the message of an abort or of an exception. A long text is cut."""
        data = text.encode("utf-8", "backslashreplace")[: _CAUSE_BYTES - _LENGTH.size]
        start = _CAUSE + _LENGTH.size
        self._memory[start : start + len(data)] = data
        _LENGTH.pack_into(self._memory, _CAUSE, len(data))

    def _write_ids(self, region: int, ids: Ids) -> None:
        if ids == self._written[region]:
            return
        self._written[region] = ids
        data = msgspec.msgpack.encode(list(ids))
        if len(data) > _REGION_BYTES - _LENGTH.size:
            data = b""  # no id can be blamed
        # The length is written last: if the process ends in between, the region is empty and not wrong.
        _LENGTH.pack_into(self._memory, region, 0)
        start = region + _LENGTH.size
        self._memory[start : start + len(data)] = data
        _LENGTH.pack_into(self._memory, region, len(data))

    # --- The client's side --------------------------------------------------------------------------------------------

    def read(self) -> HeartbeatReading:
        return HeartbeatReading(*_BEAT.unpack_from(self._memory, 0))

    def ids_in_work(self) -> set[str | int]:
        """Ids that the worker works for, or worked for when it ended. Empty for a region that is half written."""
        return self._read_ids(_STEP) | self._read_ids(_PREPARING)

    def cause(self) -> str:
        """Returns the text of set_cause(); "" if there was none."""
        return self._data(_CAUSE, _CAUSE_BYTES).decode("utf-8", "replace")

    def _data(self, region: int, size: int) -> bytes:
        (length,) = _LENGTH.unpack_from(self._memory, region)
        start = region + _LENGTH.size
        return self._memory[start : start + min(length, size - _LENGTH.size)]

    def _read_ids(self, region: int) -> set[str | int]:
        data = self._data(region, _REGION_BYTES)
        try:
            return set(msgspec.msgpack.decode(data, type=list[str | int])) if data else set()
        except msgspec.DecodeError:
            return set()
