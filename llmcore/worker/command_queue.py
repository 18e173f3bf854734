"""Queue of the worker's engine thread: commands, and results of the threads that prepare requests."""

from __future__ import annotations

import contextlib
import queue

from llmcore.engine.encoder import AnyEngine
from llmcore.protocol.commands import AbandonCommand, CancelCommand, Command
from llmcore.protocol.unreadable import Unreadable
from llmcore.worker.preparation import PreparedRequest

Received = Command | Unreadable | PreparedRequest


class CommandQueue:
    """Commands from the reader's thread, and prepared requests from the preparing threads, for the engine's thread."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._cancelled: set[str] = set()
        self._abandoned: set[int] = set()

    def put(self, command: Command | Unreadable, engine: AnyEngine) -> None:
        """For the reader's thread. A cancel interrupts the current step, or embedding pass, if that serves cancelled requests
        only."""
        self._queue.put(command)
        if isinstance(command, CancelCommand):
            self._cancelled.add(command.request_id)
            engine.interrupt(frozenset(self._cancelled))
        elif isinstance(command, AbandonCommand):
            self._abandoned.add(command.call_id)
            engine.embeddings.interrupt(frozenset(self._abandoned))

    def put_prepared(self, prepared: PreparedRequest) -> None:
        """For the preparing threads."""
        self._queue.put(prepared)

    def take(self, *, wait_s: float) -> list[Received]:
        """For the engine's thread: everything in the queue, after waiting up to wait_s for the first item."""
        commands: list[Received] = []
        with contextlib.suppress(queue.Empty):
            if wait_s:
                commands.append(self._queue.get(timeout=wait_s))
            while True:
                commands.append(self._queue.get_nowait())
        for command in commands:
            if isinstance(command, CancelCommand):
                self._cancelled.discard(command.request_id)
            elif isinstance(command, AbandonCommand):
                self._abandoned.discard(command.call_id)
        return commands
