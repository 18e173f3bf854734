"""Native calls that Ctrl-C can end.

Python delivers signals to the main thread only. While that is in native code, an exception such as KeyboardInterrupt waits until
the code returns; where the code calls back into Python (progress, log lines), ctypes drops the exception. So long calls run in a
thread of their own, and the caller waits in Python, where the exception is raised at once.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

R = TypeVar("R")

# Timeout of each wait. A signal that another thread has received does not wake the main thread.
_POLL_S = 0.1


class InterruptibleCall(Generic[R]):
    """One call in a thread of its own. Its result must free itself when dropped (see handle.py): an interrupted caller ignores it.

    Args:
        call: the native call.
        stop: makes the call end soon. An interrupted caller waits for that end, and so does the end of the interpreter: native
            code that ran beyond it would crash.
    """

    def __init__(self, call: Callable[[], R], stop: Callable[[], None]) -> None:
        self._call = call
        self._stop = stop
        self._start_token = [
            True
        ]  # popped once: by the thread, which starts the call, or by the caller, which prevents it
        self._questions: queue.SimpleQueue[Callable[[], object] | None] = (
            queue.SimpleQueue()
        )  # None: the call has ended
        self._answers: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._result: list[R] = []
        self._error: BaseException | None = None
        self._is_caller_gone = False
        self._has_ended = False

    def result(self) -> R:
        """Starts the call and waits for its result. Raises what the call raises, or what interrupts the caller."""
        try:
            threading.Thread(target=self._run, name="llmcore-native", daemon=False).start()
            while not self._has_ended:
                with contextlib.suppress(queue.Empty):
                    question = self._questions.get(timeout=_POLL_S)
                    if question is not None:
                        self._answers.put(question())
        except BaseException:
            self._abandon()
            raise
        if self._error is not None:
            raise self._error
        return self._result.pop()

    def _abandon(self) -> None:
        self._is_caller_gone = True
        self._answers.put(None)
        if self._take_start_token():
            return
        self._stop()
        # A second Ctrl-C ends this wait and leaves the call to its thread. (The None that marks the end may have been taken
        # already, by the get() that was interrupted.)
        while not self._has_ended:
            with contextlib.suppress(queue.Empty):
                self._questions.get(timeout=_POLL_S)

    def ask_caller(self, question: Callable[[], object]) -> object:
        """Returns the result of a function that runs in the caller's thread; None if the caller is gone. For use by the call."""
        if not self._is_caller_gone:
            self._questions.put(question)
        while not self._is_caller_gone:
            with contextlib.suppress(queue.Empty):
                return self._answers.get(timeout=_POLL_S)
        return None

    def _take_start_token(self) -> bool:
        """Returns True for the first caller only."""
        try:
            return self._start_token.pop()
        except IndexError:
            return False

    def _run(self) -> None:
        if not self._take_start_token():
            return
        try:
            self._result.append(self._call())
        except BaseException as error:
            self._error = error
        finally:
            del self._call  # its references must not live as long as this thread
            self._has_ended = True
            self._questions.put(None)


def no_stop() -> None:
    """`stop` of short calls that cannot be stopped."""


def call_interruptibly(call: Callable[[], R], stop: Callable[[], None]) -> R:
    """Returns the result of a call, as an InterruptibleCall if this is the main thread and Ctrl-C is handled."""
    if threading.get_ident() != threading.main_thread().ident or not callable(signal.getsignal(signal.SIGINT)):
        return call()
    return InterruptibleCall(call, stop).result()
