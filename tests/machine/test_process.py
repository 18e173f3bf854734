"""Objects of a process in a forked child."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Callable

import pytest

from llmcore.errors import ForkedError
from llmcore.machine.process import Process


def forked(check: Callable[[], bool]) -> bool:
    """Returns the words of `check` in a forked child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # since Python 3.12, where the parent has threads
        pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if check() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def raises(call: Callable[[], object], words: str) -> bool:
    try:
        call()
    except ForkedError as error:
        return error.code == "forked" and words in error.message
    return False


def test_a_child_is_another_process() -> None:
    home = Process.current
    home.check("the thing")
    assert forked(lambda: not home.is_current and Process.current.is_current)
    assert forked(lambda: raises(lambda: home.check("the thing"), "the thing belongs to the process"))
    assert home.is_current


def test_a_child_of_a_process_that_has_computed_cannot_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Process, "current", Process())
    assert forked(lambda: not raises(Process.current.check_computes, ""))
    Process.current.has_computed = True
    Process.current.check_computes()
    assert forked(lambda: raises(Process.current.check_computes, "fresh process"))
    # Nor can a grandchild.
    assert forked(lambda: forked(lambda: raises(Process.current.check_computes, "fresh process")))


def test_a_child_has_no_end_of_a_kept_connection() -> None:
    ours, theirs = socket.socketpair()
    closed = socket.socket()
    with ours, theirs:
        for each in (ours, closed):
            Process.keep(each)
        closed.close()
        theirs.sendall(b"for the parent")
        assert forked(lambda: os.read(ours.fileno(), 10) == b"" and os.write(ours.fileno(), b"from the child") > 0)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        assert ours.recv(100) == b"for the parent"
