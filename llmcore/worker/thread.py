"""A worker that runs in a thread of its client's process instead of a process of its own.

It serves the same socket with the same messages. It protects from no abort of native code, needs no second copy of Python, and
loads faster. A step computes without the interpreter lock, so the event loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading

from llmcore.machine.process import Process
from llmcore.worker.main import serve
from llmcore.worker.process import WorkerProcess

logger = logging.getLogger(__name__)

# Seconds between two looks whether the thread has ended.
_LOOK_S = 0.005


class WorkerThread(WorkerProcess):
    """See WorkerProcess. Its thread cannot be killed: end() waits until the step that it computes is over."""

    _thread: threading.Thread | None = None

    async def start(self) -> None:
        """Starts the thread."""
        ours, theirs = socket.socketpair()
        Process.keep(ours)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
        self._thread = threading.Thread(target=self._serve, args=(theirs,), name="llmcore-engine", daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Closes the socket, which ends the thread."""
        if self._transport is not None:
            self._transport.abort()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                serve(sock, self.heartbeat, configure_log=_keep_log)
            except (
                Exception
            ) as error:  # a bug of ours, or an engine that can compute no more: the next thread loads again
                logger.exception("worker_failed")
                self.heartbeat.set_cause(f"{type(error).__name__}: {error}")

    async def _end(self) -> int | None:
        if self._transport is None or self._thread is None:
            return None
        self._transport.close()
        if not self._home.is_current:  # this is a forked child, which has no such thread
            return None
        # Not in the loop's executor, whose threads may be shut down already.
        while self._thread.is_alive():
            await asyncio.sleep(_LOOK_S)
        await self._gone.wait()
        return 0


def _keep_log(level: str | None) -> None:
    """Leaves logging as the program has set it up."""
