"""Native objects and who keeps them: freed once, never during a call, never before what was made from them.

A call holds a reference to the Handle that it works on, and a Handle holds those that it was made from. So close() returns at
once, also in a callback or while other threads are in calls; the memory goes with the last reference.
"""

from __future__ import annotations

import atexit
import functools
import os
import weakref
from abc import ABC
from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from llmcore.errors import ClosedError
from llmcore.machine.process import Process

T = TypeVar("T", bound="HandleOwner")
H = TypeVar("H", bound="Handle | PartHandle")

# Dead references are looked for once there are so many, or twice as many as were alive the last time.
_N_RELEASES = 64


class _Release(weakref.ref["npt.NDArray[np.int8]"]):
    """A weak reference whose callback frees a native object. The callback is native code all through, so that Ctrl-C is not raised
    in it, where Python would drop it; it gets this reference as one argument more, which ctypes takes for this number."""

    _as_parameter_ = 0


class Handle(int):
    """The address of a native object, which is freed with the last reference to this."""

    _releases: ClassVar[dict[int, _Release]] = {}  # by id; a dead one does nothing any more
    _n_swept: ClassVar[int] = 0

    # The garbage collector finalizes the objects of a cycle in any order, but does not track arrays: this one goes once all
    # finalizers of the cycle, which may still use the native object, have run.
    _lifeline: npt.NDArray[np.int8]

    @classmethod
    def own(cls, address: int, free: Callable[..., object], *needs: object) -> Handle:
        """`free` gets the address first; `needs` are kept until then. See forget() for when nothing is freed."""
        handle = cls(address)
        handle._lifeline = np.empty(0, np.int8)
        freeing = functools.partial(free, address)
        freeing.__dict__["needs"] = needs
        release = _Release(handle._lifeline, freeing)
        cls._releases[id(release)] = release
        if len(cls._releases) > 2 * cls._n_swept + _N_RELEASES:
            for each in list(cls._releases.values()):
                if each() is None:
                    cls._releases.pop(id(each), None)
            cls._n_swept = len(cls._releases)
        return handle

    @classmethod
    def forget(cls) -> None:
        """Nothing that there is now will be freed. For the end of the process, where threads may still be in calls, and for a
        forked child, which lacks threads that freeing may wait for."""
        alive = [release() for release in cls._releases.values()]
        cls._releases.clear()
        del alive  # only now: while they were there, none of the references could do its work


atexit.register(Handle.forget)
os.register_at_fork(after_in_child=Handle.forget)


class PartHandle(int):
    """The address of something inside of a native object, which lives as long as this."""

    _whole: Handle

    @classmethod
    def of(cls, whole: Handle, address: int) -> PartHandle:
        part = cls(address)
        part._whole = whole
        return part


class HandleOwner(ABC):
    """Owns one native object. A subclass sets `_what`, then calls `_own` once native code has made the object."""

    _handle: Handle | None = None
    _parent: HandleOwner | None = None
    _what: str  # for messages: "the context"

    def _own(
        self, address: int, free: Callable[[int], object], *needs: object, parent: HandleOwner | None = None
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
        """Like `handle`, for another address that a subclass keeps and drops in close()."""
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
