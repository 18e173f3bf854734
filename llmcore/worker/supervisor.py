"""Keeps a worker process running: starts it, watches its heartbeat, starts another one when it is gone.

Whatever ended it (an abort, a signal, no memory, a missed heartbeat), the next one is started after a pause. The pause grows as
long as processes end soon after their start.
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
from llmcore.worker.process import WorkerExit, WorkerProcess

logger = logging.getLogger(__name__)

RESTART_PAUSE_FIRST_S = 0.1
RESTART_PAUSE_MAX_S = 10.0
# After a process that ran for this long, the next pause is the first one again.
WELL_AFTER_S = 60.0

# Makes a worker that is not started yet, from a function that gets its replies.
MakeWorker = Callable[[Callable[[Reply], None]], WorkerProcess]


class Supervisor:
    """Runs one process after the other, until stop()."""

    def __init__(
        self,
        config: EngineConfig,
        log_level: str | None,
        on_reply: Callable[[Reply], None],
        on_lost: Callable[[set[str | int]], bool],
        on_exit: Callable[[str], bool],
        make_worker: MakeWorker | None = None,
    ) -> None:
        """`on_reply` gets the replies of the process. When the process is gone, `on_lost` gets the ids that it worked on (see
        heartbeat.py); once it is reaped, `on_exit` gets the cause. If one of these returns False, no other process is started.
        `make_worker` makes what starts one; None: WorkerProcess."""
        self._config = config
        self._log_level = log_level
        self._on_reply = on_reply
        self._on_lost = on_lost
        self._on_exit = on_exit
        self._make_worker = make_worker
        self._process: WorkerProcess | None = None
        self._is_over = False
        self._running: asyncio.Task[None] | None = None
        self.n_restarts = 0

    def start(self) -> None:
        """Starts supervising, in a task. Idempotent."""
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="llmcore-supervisor")

    async def stop(self) -> None:
        """Ends the process. Idempotent."""
        # Set besides the cancel: before Python 3.12, wait_for() may lose a cancel.
        self._is_over = True
        self.send(ShutdownCommand())
        if self._running is not None:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running
            self._running = None

    def send(self, command: Command) -> None:
        """Sends a command to the process. Drops it if there is none: `on_lost` was called then."""
        if self._process is not None:
            self._process.send(command)

    async def _run(self) -> None:
        pause_s = RESTART_PAUSE_FIRST_S
        while True:
            started_s = time.monotonic()
            try:
                ended = await self._run_once()
            except Exception as error:
                # No processes, memory or files left now; perhaps later. A bug of ours must not end the supervision either.
                logger.exception("supervision_failed")
                ended = WorkerExit(None, f"{type(error).__name__}: {error}")
            if self._is_over:
                return
            lived_s = time.monotonic() - started_s
            pause_s = RESTART_PAUSE_FIRST_S if lived_s > WELL_AFTER_S else pause_s
            is_over = not self._on_exit(ended.cause)
            restart = {} if is_over else {"restart_in_s": pause_s}
            fields = {"status": ended.status, "cause": ended.cause, "lived_s": lived_s, **restart}
            event(logger, logging.ERROR, "worker_died", **fields)
            if is_over:
                return
            self.n_restarts += 1
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESTART_PAUSE_MAX_S)

    async def _run_once(self) -> WorkerExit:
        """Runs one process from its start to its end. Raises OSError if it cannot be started."""
        process = (self._make_worker or WorkerProcess)(self._on_reply)
        try:
            await _start(process)
            self._process = process
            config, paths = detach_paths(self._config)
            self.send(ConfigureCommand(config, self._log_level, paths))
            await _wait_gone(process, self._config.worker_silent_s)
        finally:
            self._process = None
            self._is_over |= not self._on_lost(process.heartbeat.ids_in_work())
            ended = await process.end()
        return ended


async def _start(process: WorkerProcess) -> None:
    """Starts a process. A cancel meanwhile waits until it is started, so that it can be ended. Raises OSError."""
    starting = asyncio.ensure_future(process.start())
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await starting
        raise


async def _wait_gone(process: WorkerProcess, silent_s: float) -> None:
    """Waits until a process is gone, by itself or because it missed its heartbeat for silent_s (0: never)."""
    watching = asyncio.ensure_future(process.kill_when_silent(silent_s) if silent_s else asyncio.sleep(0))
    try:
        await process.wait_gone()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
