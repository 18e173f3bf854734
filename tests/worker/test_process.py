"""Why a process ended, in words."""

from __future__ import annotations

import signal

import pytest

from llmcore.worker.process import exit_cause


@pytest.mark.parametrize(
    ("status", "reported", "was_silent", "cause"),
    [
        (None, "", False, "never started"),
        (0, "", False, "status 0"),
        (1, "", False, "status 1"),
        (1, "OSError: full", False, "OSError: full"),
        (-signal.SIGKILL, "", False, "out of memory"),
        (-signal.SIGKILL, "", True, "worker_silent_s"),
        (-signal.SIGSEGV, "", False, "SIGSEGV"),
        (-signal.SIGABRT, "native code aborts: x", False, "native code aborts: x"),
        (-200, "", False, "signal 200"),
    ],
)
def test_a_cause_for_each_end(status: int | None, reported: str, was_silent: bool, cause: str) -> None:
    assert cause in exit_cause(status, reported, was_silent=was_silent)
