"""Ownership of native objects: each is freed once, never during a call, never before what was made from it.

A call holds a reference to the Handle that it works on, and a Handle holds those that it was made from. So close() returns at
once, also in a callback or while other threads are in calls; the memory is freed with the last reference.
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
H = TypeVar("H", bound="Handle | BorrowedHandle")

# Dead references are removed once there are this many more than twice those alive at the last removal.
_N_DEAD = 64


class _Finalizer(weakref.ref["npt.NDArray[np.int8]"]):
    """A weak reference whose callback frees a native object.

    The callback is native code throughout: in Python code, Ctrl-C could be raised, and Python drops exceptions in such callbacks.
    The callback gets this reference as an additional argument, which ctypes passes as this number.
    """

    _as_parameter_ = 0


class Handle(int):
    """The address of a native object, which is freed with the last reference to this."""

    _finalizers: ClassVar[dict[int, _Finalizer]] = {}  # by id; dead ones are removed later
    _n_alive: ClassVar[int] = 0  # at the last removal

    # The garbage collector finalizes the objects of a cycle in any order, but does not track arrays: this one is freed after all
    # finalizers of the cycle have run, which may still use the native object.
    _sentinel: npt.NDArray[np.int8]

    @classmethod
    def create(cls, address: int, free: Callable[..., object], *needs: object) -> Handle:
        """Returns a handle that calls `free` with the address when its last reference is gone.

        Args:
            needs: objects that are kept alive until then.
        """
        handle = cls(address)
        handle._sentinel = np.empty(0, np.int8)
        freeing = functools.partial(free, address)
        freeing.__dict__["needs"] = needs
        finalizer = _Finalizer(handle._sentinel, freeing)
        cls._finalizers[id(finalizer)] = finalizer
        if len(cls._finalizers) > 2 * cls._n_alive + _N_DEAD:
            for each in list(cls._finalizers.values()):
                if each() is None:
                    cls._finalizers.pop(id(each), None)
            cls._n_alive = len(cls._finalizers)
        return handle

    @classmethod
    def leak_all(cls) -> None:
        """Cancels all finalizers: no object that exists now is ever freed. For the end of the process, when threads may still be
        in calls, and for a forked child, which lacks threads that freeing may wait for."""
        alive = [finalizer() for finalizer in cls._finalizers.values()]
        cls._finalizers.clear()
        del alive  # not before: as long as the objects live, no finalizer runs


atexit.register(Handle.leak_all)
os.register_at_fork(after_in_child=Handle.leak_all)


class BorrowedHandle(int):
    """The address of a part of a native object. Keeps that object alive."""

    _owner: Handle

    @classmethod
    def create(cls, owner: Handle, address: int) -> BorrowedHandle:
        part = cls(address)
        part._owner = owner
        return part


class HandleOwner(ABC):
    """Owns one native object. A subclass sets `_name`, then calls `_create_handle` or `_set_handle`."""

    _handle: Handle | None = None
    _parent: HandleOwner | None = None
    _name: str  # for messages: "the context"

    def _create_handle(
        self, address: int, free: Callable[[int], object], *needs: object, parent: HandleOwner | None = None
    ) -> Handle:
        """Takes ownership of the native object at `address`.

        Args:
            parent: owner of what the object was made from. Its memory outlives the object; after its close() the object cannot
                be used.
        """
        self._parent = parent
        return self._set_handle(Handle.create(address, free, *needs, None if parent is None else parent.handle))

    def _set_handle(self, handle: Handle) -> Handle:
        self._process = Process.current
        self._handle = handle
        return handle

    def close(self) -> None:
        """Ends the use of the object; later calls raise ClosedError. Returns at once: the memory is freed when calls in progress
        have returned and what was made from it is closed. Safe to call twice, and from any thread."""
        self._handle = None

    @property
    def handle(self) -> Handle:
        """The native object, as an argument of native functions: it lives as long as the call. Raises ClosedError after close()
        of this object or its parent, ForkedError in a forked child."""
        handle, parent = self._handle, self._parent
        if handle is None or self._process is not Process.current or (parent is not None and parent._handle is None):
            raise self._closed_error()
        return handle

    def _checked(self, handle: H | None) -> H:
        """Returns another handle that a subclass keeps, and sets to None in close(). Raises the errors of `handle`."""
        self.handle  # noqa: B018  raises ClosedError
        if handle is None:
            raise self._closed_error()
        return handle

    def _closed_error(self) -> ClosedError:
        """Returns the error of a closed object. Raises ForkedError in a forked child."""
        self._process.check(self._name)
        if self._handle is not None and self._parent is not None:
            return ClosedError(f"{self._name} cannot be used: {self._parent._name} is closed")
        return ClosedError(f"{self._name} is closed")

    def __enter__(self: T) -> T:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
