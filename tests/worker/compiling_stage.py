"""The worker's loop over a scripted engine that compiles constraints when a test lets it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

from llmcore.engine.engine import Engine
from llmcore.errors import InvalidRequestError, OverloadedError
from llmcore.messages import (
    Accepted,
    Constraint,
    GenerateRequest,
    Output,
    Priority,
    Regex,
    TextPrompt,
)
from llmcore.protocol.commands import ShutdownCommand, SubmitCommand
from llmcore.protocol.framing import Channel
from llmcore.protocol.replies import StepReply
from llmcore.scheduling.refusals import Refusals
from llmcore.worker.heartbeat import Heartbeat
from llmcore.worker.loop import WorkerLoop


class ScriptedEngine:
    """Compiles when it is let go; refuses the pattern "("."""

    has_work = False
    embeddings = SimpleNamespace(has_work=False)
    on_step: Any = None
    step: Any = None

    def __init__(self) -> None:
        self.prefixes = self
        self.may_compile = threading.Event()
        self.is_compiling = threading.Event()
        self.submitted: list[str] = []
        self.now_refused: Refusals = ()
        self._ready: set[Constraint] = set()

    def observe_steps(self, call: Any) -> None:
        self.on_step = call

    def is_prepared(self, constraint: Constraint | None, prompt: object = None) -> bool:
        return constraint is None or constraint in self._ready

    def prepare(self, constraint: Constraint, prompt: object = None) -> None:
        self.is_compiling.set()
        assert self.may_compile.wait(30)
        if constraint == Regex("("):
            raise InvalidRequestError("no", param="constraint")
        self._ready.add(constraint)

    def submit(self, request: GenerateRequest) -> Accepted:
        self.submitted.append(request.request_id)
        if self.now_refused:
            raise OverloadedError("full", retry_after_s=3.0)
        return Accepted(request.request_id, 1)

    def refusals(self) -> Refusals:
        return self.now_refused

    def cancel(self, request_id: str) -> None:
        self.now_refused = ()

    def interrupt(self, request_ids: frozenset[str]) -> None:
        pass

    def infos(self) -> list[Any]:
        return []


class ScriptedChannel:
    """Commands in, outputs out."""

    def __init__(self) -> None:
        self.commands: queue.Queue[Any] = queue.Queue()
        self.outputs: queue.Queue[Output] = queue.Queue()
        self.refusals: queue.Queue[Refusals] = queue.Queue()

    def __iter__(self) -> Iterator[Any]:
        while (command := self.commands.get()) is not None:
            yield command

    def send(self, message: object) -> None:
        assert isinstance(message, StepReply)
        self.refusals.put(message.refusals)
        for output in message.outputs:
            self.outputs.put(output)


class Stage:
    def __init__(self) -> None:
        self.engine, self.channel = ScriptedEngine(), ScriptedChannel()
        self.heartbeat = Heartbeat()
        worker = WorkerLoop(cast(Engine, self.engine), cast(Channel[Any], self.channel), self.heartbeat, silent_s=0.1)
        self.thread = threading.Thread(target=worker.run)
        self.thread.start()

    def submit(self, name: str, pattern: str | None, priority: Priority = "normal") -> None:
        constraint = None if pattern is None else Regex(pattern)
        request = GenerateRequest(request_id=name, prompt=TextPrompt("a"), constraint=constraint, priority=priority)
        self.channel.commands.put(SubmitCommand(request))

    def next(self) -> Output:
        return self.channel.outputs.get(timeout=30)

    def end(self) -> None:
        self.engine.may_compile.set()
        self.channel.commands.put(ShutdownCommand())
        self.channel.commands.put(None)
        self.thread.join(30)
        assert not self.thread.is_alive()
        self.heartbeat.close()
