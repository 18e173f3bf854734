"""Reaps orphans if the service is process 1: processes without a parent become its children and stay zombies otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

from llmcore.log import event

logger = logging.getLogger(__name__)

# Code that waits for its own child does so at once, so a child that is a zombie at two consecutive looks is an orphan.
LOOK_EVERY_S = 1.0


async def reap_orphans(every_s: float = LOOK_EVERY_S) -> None:
    """Reaps orphans until it is cancelled. Leaves the service's own children alone."""
    seen: set[int] = set()
    while True:
        zombies = find_zombies()
        for pid in seen & zombies:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
                event(logger, logging.INFO, "orphan_reaped", pid=pid)
        seen = zombies - seen
        await asyncio.sleep(every_s)


def find_zombies() -> set[int]:
    """Returns the process ids of exited children that nothing has waited for. Leaves them zombies."""
    options = os.WEXITED | os.WNOHANG | os.WNOWAIT
    zombies = set()
    for pid in _children():
        with contextlib.suppress(ChildProcessError):  # waited for a moment ago
            if os.waitid(os.P_PID, pid, options) is not None:
                zombies.add(pid)
    return zombies


def _children() -> set[int]:
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has just ended
            found.update(map(int, path.read_text("ascii").split()))
    return found
