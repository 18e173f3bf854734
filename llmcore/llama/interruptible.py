"""Native calls that Ctrl-C can end.

Python delivers signals to the main thread only. While that is in native code, an exception such as KeyboardInterrupt waits until
the code returns; where the code calls back into Python (progress, log lines), ctypes drops it. So long calls run in a thread of
their own, and the caller waits in Python, where the exception is raised at once.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

R = TypeVar("R")

# How often a waiting thread looks about. A signal that another thread has received does not wake the main thread.
_LOOK_S = 0.1


class Aside(Generic[R]):
    """One call in a thread of its own. What the call returns must free itself (see handle.py): nobody takes it where the caller
    was interrupted.

    Args:
        stop: makes the call end soon. An interrupted caller waits for that, and so does the end of the interpreter: native code
            that runs beyond it would crash.
    """

    def __init__(self, call: Callable[[], R], stop: Callable[[], None]) -> None:
        self._call = call
        self._stop = stop
        self._begin = [True]  # who takes it out decides whether the call begins
        self._said: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._result: list[R] = []
        self._error: BaseException | None = None
        self._is_left = False
        self._has_ended = False

    def run(self) -> R:
        """The call's result. Raises what the call raises, or what interrupts the caller."""
        try:
            threading.Thread(target=self._run, name="llmcore-native", daemon=False).start()
            while not self._has_ended:
                with contextlib.suppress(queue.Empty):
                    question = self._said.get(timeout=_LOOK_S)
                    if question is not None:
                        self._answers.put(question())
        except BaseException:
            self._leave()
            raise
        if self._error is not None:
            raise self._error
        return self._result.pop()

    def _leave(self) -> None:
        self._is_left = True
        self._answers.put(None)
        if self._is_taken():
            return
        self._stop()
        # A second Ctrl-C ends this: the call is left to its thread then. (The word of its end may have been taken already, by the
        # very get() behind which the interrupt came.)
        while not self._has_ended:
            with contextlib.suppress(queue.Empty):
                self._said.get(timeout=_LOOK_S)

    def ask(self, question: Callable[[], object]) -> object:
        """For the call: has its caller's thread answer a question. None where the caller has left."""
        if not self._is_left:
            self._said.put(question)
        while not self._is_left:
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=_LOOK_S)
        return None

    def _is_taken(self) -> bool:
        """Whether the call had not begun; it does not begin any more."""
        try:
            return self._begin.pop()
        except IndexError:
            return False

    def _run(self) -> None:
        if not self._is_taken():
            return
        try:
            self._result.append(self._call())
        except BaseException as error:
            self._error = error
        finally:
            del self._call  # what it refers to is the caller's again, not this thread's until that is gone
            self._has_ended = True
            self._said.put(None)


def nothing() -> None:
    """For calls that cannot be stopped and are soon over: waited for."""


def interruptible(call: Callable[[], R], stop: Callable[[], None]) -> R:
    """The result of a call, aside if this thread is one that Ctrl-C interrupts. See Aside."""
    if threading.get_ident() != threading.main_thread().ident or not callable(signal.getsignal(signal.SIGINT)):
        return call()
    return Aside(call, stop).run()
