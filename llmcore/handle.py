"""Native objects and who keeps them: freed once, never during a call, never before what was made from them.

A call holds a reference to the Handle that it works on, and a Handle holds those that it was made from. So close() returns at
once, also in a callback or while other threads are in calls; the memory goes with the last reference.
"""

from __future__ import annotations

import weakref
from abc import ABC
from collections.abc import Callable
from types import TracebackType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from llmcore.errors import ClosedError
from llmcore.machine.process import Process

T = TypeVar("T", bound="Owner")
H = TypeVar("H", bound="Handle | Part")


class Handle(int):
    """The address of a native object, which is freed with the last reference to this."""

    # The garbage collector finalizes the objects of a cycle in any order, but does not track arrays: this one goes once all
    # finalizers of the cycle, which may still use the native object, have run.
    _lifeline: npt.NDArray[np.int8]

    @classmethod
    def own(cls, address: int, free: Callable[[int], object], *needs: object) -> Handle:
        """`free` gets the address; `needs` are kept until then. At the end of the process nothing is freed, nor in a forked
        child, where the threads are missing that freeing may wait for."""
        handle = cls(address)
        handle._lifeline = np.empty(0, np.int8)
        weakref.finalize(handle._lifeline, _free, Process.current, free, address, needs).atexit = False
        return handle


def _free(process: Process, free: Callable[[int], object], address: int, _needs: object) -> None:
    if process.is_current:
        free(address)


class Part(int):
    """The address of something inside of a native object, which lives as long as this."""

    _whole: Handle

    @classmethod
    def of(cls, whole: Handle, address: int) -> Part:
        part = cls(address)
        part._whole = whole
        return part


class Owner(ABC):
    """Owns one native object. A subclass sets `_what`, then calls `_own` once native code has made the object."""

    _handle: Handle | None = None
    _parent: Owner | None = None
    _what: str  # for messages: "the context"

    def _own(
        self, address: int, free: Callable[[int], object], *needs: object, parent: Owner | None = None
    ) -> Handle:
        """`parent` owns what the object was made from: its memory outlives the object, and after its close() the object
        cannot be used."""
        self._parent = parent
        return self._take(Handle.own(address, free, *needs, None if parent is None else parent.handle))

    def _take(self, handle: Handle) -> Handle:
        self._process = Process.current
        self._handle = handle
        return handle

    def close(self) -> None:
        """Ends the use of the object; the next call raises ClosedError. Returns at once: the memory is freed when calls in
        progress have returned and what was made from it is closed. Safe to call twice, and from any thread."""
        self._handle = None

    @property
    def handle(self) -> Handle:
        """The native object, as an argument of native functions: while a function runs, its arguments live. Raises ClosedError
        after close() of this or its parent, ForkedError in a forked child."""
        handle, parent = self._handle, self._parent
        if handle is None or self._process is not Process.current or (parent is not None and parent._handle is None):
            raise self._error()
        return handle

    def _usable(self, handle: H | None) -> H:
        """As `handle`, for another address that a subclass keeps and drops in close()."""
        self.handle  # noqa: B018  raises ClosedError
        if handle is None:
            raise self._error()
        return handle

    def _error(self) -> ClosedError:
        """Raises ForkedError, if that is the reason."""
        self._process.check(self._what)
        if self._handle is not None and self._parent is not None:
            return ClosedError(f"{self._what} cannot be used: {self._parent._what} is closed")
        return ClosedError(f"{self._what} is closed")

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
