"""The worker process from its parent's side: started, spoken to in frames, ended and reaped. It has no notion of requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import msgspec

from llmcore.errors import EngineError
from llmcore.log import event
from llmcore.machine.child_process import exit_words, module_command, module_environ
from llmcore.machine.process import Process
from llmcore.protocol.commands import Command
from llmcore.protocol.framing import FrameBuffer, FrameError, frame
from llmcore.protocol.replies import CallFailedReply, Reply
from llmcore.protocol.unreadable import id_in
from llmcore.worker.heartbeat import Heartbeat

logger = logging.getLogger(__name__)

# The module that runs in the process. Its arguments are the file descriptors of its end of the socket pair and of the heartbeat.
WORKER = "llmcore.worker.main"
# Seconds between two readings of the heartbeat, or a fraction of worker_silent_s if that is shorter.
_WATCH_S = 1.0
_READINGS = 4
# Seconds that the process may take to exit by itself once its socket is closed.
STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class WorkerExit:
    """End of a process. `status` is its exit status (negative: the signal that ended it; None: it was never started). `cause`
    is a text for people."""

    status: int | None
    cause: str


def exit_cause(status: int | None, reported: str, *, was_silent: bool = False) -> str:
    """Reason for the end of a process: the text that it left in its heartbeat (an abort's message, an exception), or words for
    its status."""
    if was_silent:
        return "it stood still for longer than worker_silent_s and was killed"
    if reported:
        return reported
    if status is None:
        return "it was never started"
    if status >= 0:
        return f"it ended with {exit_words(status)}"
    if status == -signal.SIGKILL:
        return "killed (SIGKILL), probably out of memory"
    return f"ended by {exit_words(status)}"


class WorkerProcess(asyncio.Protocol):
    """One worker process. Each reply that it sends goes to `on_reply`, in the loop's callback that read it: a task of its own for
    reading would cost every step a second wake-up."""

    def __init__(self, on_reply: Callable[[Reply], None]) -> None:
        self._on_reply = on_reply
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
        self._frames = FrameBuffer()
        self._gone = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._home = Process.current
        self._was_silent = False
        self.heartbeat = Heartbeat()
        self.started_s = time.monotonic()

    async def start(self) -> None:
        """Starts the process. Raises OSError; end() must be called in that case too."""
        ours, theirs = socket.socketpair()
        Process.keep(ours)
        with theirs:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
            assert self._transport is not None, "connection_made() was called"
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *module_command(WORKER, str(theirs.fileno()), str(self.heartbeat.fd)),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), self.heartbeat.fd],
                    env=module_environ(),
                )
            except BaseException:
                self._transport.abort()
                raise

    def send(self, command: Command) -> None:
        """Sends a command, unless the process is gone. Raises what framing.frame() raises."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(command, self._encoder))

    async def wait_gone(self) -> None:
        """Waits until the process has closed its end, by exiting or after it sent what cannot be read."""
        await self._gone.wait()

    async def kill_when_silent(self, silent_s: float) -> None:
        """Kills the process if it misses its heartbeat: none for silent_s, and the allowance of the last one.

        Only time in which this side has looked counts: if both processes were stopped, neither was silent.
        """
        pause_s = min(_WATCH_S, silent_s / _READINGS)
        last, still_s = self.heartbeat.read(), 0.0
        while still_s <= silent_s + last.allowance_s:
            await asyncio.sleep(pause_s)
            reading = self.heartbeat.read()
            still_s = still_s + pause_s if reading == last else 0.0
            last = reading
        event(logger, logging.ERROR, "worker_silent", silent_s=still_s)
        self._was_silent = True
        self.kill()

    def kill(self) -> None:
        """Kills the process. wait_gone() returns at once, even if the kernel takes longer to end the process."""
        if self._process is not None and self._home.is_current:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._transport is not None:
            self._transport.abort()

    async def end(self) -> WorkerExit:
        """Ends the process if it has not ended, and reaps it."""
        try:
            status = await self._end()
            return WorkerExit(status, exit_cause(status, self.heartbeat.cause(), was_silent=self._was_silent))
        finally:
            self.heartbeat.close()

    async def _end(self) -> int | None:
        if self._transport is None or self._process is None:
            return None
        self._transport.close()
        if not self._home.is_current:  # this is a forked child: the worker belongs to its parent
            return None
        try:
            return await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except asyncio.TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            return await self._process.wait()
        finally:
            self._transport.abort()  # what was still to be sent has no receiver
            await self._gone.wait()

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Always one that writes, since the socket is a stream; uvloop's are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._frames.feed(data):
                self._on_reply(self._decoded(message))
        except FrameError as error:
            event(logger, logging.ERROR, "worker_garbled", error=repr(error))
            assert self._transport is not None
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._gone.set()

    def _decoded(self, data: bytes) -> Reply:
        """The reply in a frame. For the reply to a call that cannot be read, returns the failure that its caller gets. Raises
        FrameError for any other: then requests have missed outputs, unknown which, so the process must end."""
        try:
            return self._decoder.decode(data)
        except Exception as error:
            id = id_in(data)
            if not isinstance(id, int):
                raise FrameError(f"an event that cannot be read: {error}") from None
            event(logger, logging.ERROR, "reply_unreadable", call_id=id, error=repr(error))
            return CallFailedReply(id, EngineError.code, f"the engine's reply cannot be read: {error}")
