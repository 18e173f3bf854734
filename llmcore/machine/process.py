"""The current process, and forks of it: a forked child has copies of all objects, but none of the threads that they need."""

from __future__ import annotations

import os
import socket
import weakref
from dataclasses import dataclass
from typing import ClassVar

from llmcore.errors import ForkedError


@dataclass(eq=False)
class Process:
    """One process. Objects that cannot be used in a forked child keep the process that they were made in (`Process.current`),
    and compare it with the current one.

    Attributes:
        has_computed: native code has started threads in this process; set by the code that computes.
        is_stale: the parent had such threads at the fork. Their runtime would wait for them forever.
    """

    current: ClassVar[Process]
    _private: ClassVar[weakref.WeakSet[socket.socket]] = weakref.WeakSet()

    has_computed: bool = False
    is_stale: bool = False

    @property
    def is_current(self) -> bool:
        return self is Process.current

    @classmethod
    def keep(cls, sock: socket.socket) -> None:
        """Keeps a socket private to this process: in a forked child it is replaced by the null device, so that the child receives
        and sends nothing, and does not hold the connection open."""
        cls._private.add(sock)

    def check(self, what: str) -> None:
        """Raises ForkedError in a forked child of this process. `what` names the object that was made in this process."""
        if self is not Process.current:
            raise ForkedError(f"{what} belongs to the process that this one was forked from: load after the fork")

    def check_computes(self) -> None:
        """Raises ForkedError if the first step would hang."""
        if self.is_stale:
            raise ForkedError(
                "this process was forked from one that had computed, whose threads it lacks: load in a fresh process "
                "(multiprocessing's spawn or forkserver), or fork before anything is computed"
            )


def _after_fork() -> None:
    parent = Process.current
    Process.current = Process(is_stale=parent.is_stale or parent.has_computed)
    for sock in Process._private:
        if sock.fileno() >= 0:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(nothing, sock.fileno(), inheritable=False)
            os.close(nothing)


Process.current = Process()
os.register_at_fork(after_in_child=_after_fork)
