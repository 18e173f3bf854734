"""The worker's end of an AsyncEngine's socket, played by a test: no process, no model, no clock."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
import pytest

from llmcore.messages import Accepted, ModelInfo, Output
from llmcore.protocol.commands import Command, ConfigureCommand, SubmitCommand
from llmcore.protocol.framing import HEADER_BYTES, frame, frame_length
from llmcore.protocol.replies import ReadyReply, Reply, StepReply
from llmcore.worker import supervisor
from llmcore.worker.client import AsyncEngine
from llmcore.worker.heartbeat import Heartbeat
from llmcore.worker.process import WorkerProcess

MODEL = ModelInfo(
    path="/models/scripted.gguf",
    description="scripted",
    architecture="scripted",
    n_params=1,
    size_bytes=1,
    n_vocab=1,
    n_embd=1,
    n_layer=1,
    n_ctx_train=1,
    n_ctx=1,
    has_chat_template=True,
)

C = TypeVar("C", bound=Command)


class ScriptedWorker:
    """One life of a worker. `heartbeat` is the client's, which a test writes in the worker's stead."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heartbeat: Heartbeat) -> None:
        self.heartbeat = heartbeat
        self._reader = reader
        self.writer = writer
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)

    async def next(self, kind: type[C]) -> C:
        """The next command, which is of that kind."""
        length = frame_length(await self._reader.readexactly(HEADER_BYTES))
        command = self._decoder.decode(await self._reader.readexactly(length))
        assert isinstance(command, kind), command
        return command

    def send(self, event: Reply) -> None:
        self.writer.write(frame(event, self._encoder))

    def step(self, *outputs: Output) -> None:
        self.send(StepReply(outputs))

    async def get_ready(self) -> None:
        await self.next(ConfigureCommand)
        self.send(ReadyReply(MODEL))

    async def admit(self) -> str:
        """Accepts the next request and returns its id."""
        submit = await self.next(SubmitCommand)
        self.step(Accepted(submit.request.request_id, 7))
        return submit.request.request_id

    def die(self) -> None:
        self.writer.close()


class _Ended:
    """A process that has ended."""

    async def wait(self) -> int:
        return -9

    def kill(self) -> None:
        pass


class Stage:
    """Makes children of which the test plays the other end: `WorkerProcess` to a client, and `await enter()` for the test."""

    def __init__(self) -> None:
        self._entries: asyncio.Queue[ScriptedWorker] = asyncio.Queue()
        self._all: list[ScriptedWorker] = []

    def child(self, *args: Any) -> WorkerProcess:
        return _ScriptedChild(self, *args)

    async def enter(self) -> ScriptedWorker:
        """The worker that was started next."""
        return await self._entries.get()

    async def enter_ready(self, engine: AsyncEngine) -> ScriptedWorker:
        """The same, once it is ready for its engine."""
        worker = await self.enter()
        await worker.get_ready()
        await engine.wait_ready()
        return worker

    async def connect(self, sock: socket.socket, heartbeat: Heartbeat) -> None:
        worker = ScriptedWorker(*await asyncio.open_unix_connection(sock=sock), heartbeat)
        self._all.append(worker)
        self._entries.put_nowait(worker)

    def close(self) -> None:
        for worker in self._all:
            worker.die()


class _ScriptedChild(WorkerProcess):
    def __init__(self, stage: Stage, *args: Any) -> None:
        super().__init__(*args)
        self._stage = stage

    async def start(self) -> None:
        ours, theirs = socket.socketpair()
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
        self._process = _Ended()  # type: ignore[assignment]
        await self._stage.connect(theirs, self.heartbeat)


@contextlib.contextmanager
def scripted_stage(patch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A stage on which every AsyncEngine finds its workers, without a pause between two of them."""
    stage = Stage()
    patch.setattr(supervisor, "WorkerProcess", stage.child)
    patch.setattr(supervisor, "RESTART_PAUSE_FIRST_S", 0.0)
    yield stage
    stage.close()
