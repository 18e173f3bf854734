"""The worker process as its parent has it: started, spoken to in frames, ended and reaped. Knows no requests."""

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

# What runs in the process, with the numbers of its end of the socket pair and of its pulse as arguments.
WORKER = "llmcore.worker.main"
# A pulse is felt so often, or more where that would be too seldom.
_WATCH_S = 1.0
_LOOKS = 4
# How long the process may take to end by itself once its socket is closed.
STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Death:
    """How a process ended. `status` is its exit status: negative, the signal that ended it; None, it was never started. `cause` is
    for people."""

    status: int | None
    cause: str


def cause_of_death(status: int | None, told: str, *, was_silent: bool = False) -> str:
    """Why a process ended: what it told itself (an abort's message, an exception), or what its status says."""
    if was_silent:
        return "it stood still for longer than worker_silent_s and was killed"
    if told:
        return told
    if status is None:
        return "it was never started"
    if status >= 0:
        return f"it ended with {exit_words(status)}"
    if status == -signal.SIGKILL:
        return "killed (SIGKILL), probably out of memory"
    return f"ended by {exit_words(status)}"


class WorkerProcess(asyncio.Protocol):
    """One life of the worker process. Each event that it sends goes to `receive`, in the loop's callback that read it: a
    task of its own for reading would cost every step a second wake-up."""

    def __init__(self, receive: Callable[[Reply], None]) -> None:
        self._receive = receive
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Reply] = msgspec.msgpack.Decoder(Reply)
        self._frames = FrameBuffer()
        self._gone = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._home = Process.current
        self._was_silent = False
        self.pulse = Heartbeat()
        self.started_s = time.monotonic()

    async def start(self) -> None:
        """Starts the process. Raises OSError; end() is to be called then too."""
        ours, theirs = socket.socketpair()
        Process.keep(ours)
        with theirs:
            await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
            assert self._transport is not None, "connection_made() was called"
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *module_command(WORKER, str(theirs.fileno()), str(self.pulse.fd)),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), self.pulse.fd],
                    env=module_environ(),
                )
            except BaseException:
                self._transport.abort()
                raise

    def send(self, command: Command) -> None:
        """To a process that is gone nothing is sent. Raises what wire.frame() raises."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(command, self._encoder))

    async def gone(self) -> None:
        """Waits until the process has closed its end, which it does by ending, or has sent what cannot be read."""
        await self._gone.wait()

    async def watch(self, silent_s: float) -> None:
        """Kills the process once its heart stands still: so long, and as much longer as it said that it may take.

        What counts is time in which this side has looked: where both processes were stopped, nobody has been silent.
        """
        pause_s = min(_WATCH_S, silent_s / _LOOKS)
        last, still_s = self.pulse.heartbeat(), 0.0
        while still_s <= silent_s + last.allowance_s:
            await asyncio.sleep(pause_s)
            heartbeat = self.pulse.heartbeat()
            still_s = still_s + pause_s if heartbeat == last else 0.0
            last = heartbeat
        event(logger, logging.ERROR, "worker_silent", silent_s=still_s)
        self._was_silent = True
        self.kill()

    def kill(self) -> None:
        """At once. Whoever waits for gone() need not wait for the machine to take the process down."""
        if self._process is not None and self._home.is_current:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        if self._transport is not None:
            self._transport.abort()

    async def end(self) -> Death:
        """Ends the process if it has not ended, and reaps it."""
        try:
            status = await self._end()
            return Death(status, cause_of_death(status, self.pulse.cause(), was_silent=self._was_silent))
        finally:
            self.pulse.close()

    async def _end(self) -> int | None:
        if self._transport is None or self._process is None:
            return None
        self._transport.close()
        if not self._home.is_current:  # a forked child: the worker is its parent's
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
                self._receive(self._decoded(message))
        except FrameError as error:
            event(logger, logging.ERROR, "worker_garbled", error=repr(error))
            assert self._transport is not None
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._gone.set()

    def _decoded(self, data: bytes) -> Reply:
        """The event in a frame; of a reply that cannot be read, what its caller is told instead. Raises FrameError for all else:
        what requests have missed then cannot be known, so the process ends."""
        try:
            return self._decoder.decode(data)
        except Exception as error:
            id = id_in(data)
            if not isinstance(id, int):
                raise FrameError(f"an event that cannot be read: {error}") from None
            event(logger, logging.ERROR, "reply_unreadable", call_id=id, error=repr(error))
            return CallFailedReply(id, EngineError.code, f"the engine's reply cannot be read: {error}")
