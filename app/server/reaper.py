"""The duty of process 1: to wait for processes that were orphaned into its care, or they stay as zombies for ever."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

from llmcore.log import event

logger = logging.getLogger(__name__)

# Whoever waits for a child of their own does so at once. One that is still dead at the second look has nobody.
LOOK_EVERY_S = 1.0


async def reap_orphans(every_s: float = LOOK_EVERY_S) -> None:
    seen: set[int] = set()
    while True:
        dead = find_zombies()
        for pid in seen & dead:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
                event(logger, logging.INFO, "orphan_reaped", pid=pid)
        seen = dead - seen
        await asyncio.sleep(every_s)


def find_zombies() -> set[int]:
    """Process ids of children that have ended and that nobody has waited for. (They stay so.)"""
    how = os.WEXITED | os.WNOHANG | os.WNOWAIT
    dead = set()
    for pid in _children():
        with contextlib.suppress(ChildProcessError):  # somebody has just waited for it
            if os.waitid(os.P_PID, pid, how) is not None:
                dead.add(pid)
    return dead


def _children() -> set[int]:
    found: set[int] = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has just ended
            found.update(map(int, path.read_text("ascii").split()))
    return found
