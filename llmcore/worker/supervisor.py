"""Keeps a worker process running: starts it, feels its pulse, starts another one when it is gone. Knows no requests.

However it went (an abort, a signal, no memory, a heart that stood still), the next one is started after a pause, which grows as
long as they die young.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

from llmcore.config import EngineConfig, detach_paths
from llmcore.log import event
from llmcore.protocol.commands import Command, ConfigureCommand, ShutdownCommand
from llmcore.protocol.replies import Reply
from llmcore.worker.process import Death, WorkerProcess

logger = logging.getLogger(__name__)

RESTART_PAUSE_FIRST_S = 0.1
RESTART_PAUSE_MAX_S = 10.0
# A child that lived this long was well: the next pause is the first one again.
WELL_AFTER_S = 60.0


class Supervisor:
    """One process after the other, until stop()."""

    def __init__(
        self,
        config: EngineConfig,
        log_level: str,
        receive: Callable[[Reply], None],
        lost: Callable[[set[str | int]], bool],
        died: Callable[[str], bool],
    ) -> None:
        """`receive` gets what the process sends. `lost` is told when it is gone, with whom it was working for (see pulse.py), and
        `died` why, once that is known; False of either means that there is to be no other."""
        self._config = config
        self._log_level = log_level
        self._receive = receive
        self._lost = lost
        self._died = died
        self._child: WorkerProcess | None = None
        self._is_over = False
        self._running: asyncio.Task[None] | None = None
        self.n_restarts = 0

    def start(self) -> None:
        """Returns at once. Safe to call twice."""
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="llmcore-supervisor")

    async def stop(self) -> None:
        """Ends the process. Safe to call twice."""
        # Told besides: before Python 3.12, wait_for() may lose a cancel.
        self._is_over = True
        self.send(ShutdownCommand())
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
            self._running = None

    def send(self, command: Command) -> None:
        """To a process that is gone nothing needs to be said: `lost` was told."""
        if self._child is not None:
            self._child.send(command)

    async def _run(self) -> None:
        pause_s = RESTART_PAUSE_FIRST_S
        while True:
            started_s = time.monotonic()
            try:
                death = await self._live()
            except Exception as error:
                # No process, memory or files left: there may be some later. A bug of ours must not end this.
                logger.exception("supervision_failed")
                death = Death(None, f"{type(error).__name__}: {error}")
            if self._is_over:
                return
            lived_s = time.monotonic() - started_s
            pause_s = RESTART_PAUSE_FIRST_S if lived_s > WELL_AFTER_S else pause_s
            is_over = not self._died(death.cause)
            told = {} if is_over else {"restart_in_s": pause_s}
            event(logger, logging.ERROR, "worker_died", status=death.status, cause=death.cause, lived_s=lived_s, **told)
            if is_over:
                return
            self.n_restarts += 1
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESTART_PAUSE_MAX_S)

    async def _live(self) -> Death:
        """One life of the process. Raises OSError if it cannot be started."""
        child = WorkerProcess(self._receive)
        try:
            await _start(child)
            self._child = child
            config, paths = detach_paths(self._config)
            self.send(ConfigureCommand(config, self._log_level, paths))
            await _gone(child, self._config.worker_silent_s)
        finally:
            self._child = None
            self._is_over |= not self._lost(child.pulse.served())
            death = await child.end()
        return death


async def _start(child: WorkerProcess) -> None:
    """A cancel in the middle of starting a process must not lose the process. Raises OSError."""
    starting = asyncio.ensure_future(child.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await starting
        raise


async def _gone(child: WorkerProcess, silent_s: float) -> None:
    """Until it is gone, by itself or because it was silent for so long (0: however long)."""
    watching = asyncio.ensure_future(child.watch(silent_s) if silent_s else asyncio.sleep(0))
    try:
        await child.gone()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
