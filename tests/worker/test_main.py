"""The worker's loop over a scripted engine: constraints are compiled beside it, and requests wait for that."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from benchmarks.service import wait_until
from llmcore.engine.engine import Engine
from llmcore.errors import InvalidRequestError, OverloadedError
from llmcore.messages import (
    Accepted,
    AdmissionRefusal,
    Constraint,
    Failed,
    GenerateRequest,
    Output,
    Priority,
    Regex,
    TextPrompt,
)
from llmcore.protocol.commands import CancelCommand, ShutdownCommand, SubmitCommand
from llmcore.protocol.framing import Channel, frame
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
        self.may_compile = threading.Event()
        self.is_compiling = threading.Event()
        self.submitted: list[str] = []
        self.now_refused: Refusals = ()
        self._ready: set[Constraint] = set()

    def is_prepared(self, constraint: Constraint) -> bool:
        return constraint in self._ready

    def prepare(self, constraint: Constraint) -> None:
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

    def prefixes(self) -> list[Any]:
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


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


def test_others_are_served_while_a_constraint_is_compiled(stage: Stage) -> None:
    stage.submit("slow", "[a]")
    assert stage.engine.is_compiling.wait(30)
    stage.submit("plain", None)
    assert stage.next() == Accepted("plain", 1)
    stage.engine.may_compile.set()
    assert stage.next() == Accepted("slow", 1)
    stage.submit("again", "[a]")
    assert stage.next() == Accepted("again", 1)
    assert stage.engine.submitted == ["plain", "slow", "again"]


def test_a_refused_constraint_fails_its_request(stage: Stage) -> None:
    stage.engine.may_compile.set()
    stage.submit("a", "(")
    assert stage.next() == Failed("a", "invalid_request", "no", "constraint")
    assert not stage.engine.submitted


def test_compiling_that_hangs_ends_the_process_and_names_whose_it_is() -> None:
    engine, channel, heartbeat = ScriptedEngine(), ScriptedChannel(), Heartbeat()
    worker = WorkerLoop(cast(Engine, engine), cast(Channel[Any], channel), heartbeat, silent_s=0.1, preparing_max_s=0.2)
    channel.commands.put(
        SubmitCommand(GenerateRequest(request_id="a", prompt=TextPrompt("a"), constraint=Regex("[a]")))
    )
    with pytest.raises(TimeoutError, match="compiled"):
        worker.run()
    assert heartbeat.ids_in_work() == {"a"}
    engine.may_compile.set()
    channel.commands.put(None)
    wait_until(lambda: heartbeat.ids_in_work() == set(), 30, "the compiler's end")
    heartbeat.close()


def test_a_cancel_finds_what_waits_for_its_constraint(stage: Stage) -> None:
    stage.submit("a", "[a]")
    assert stage.engine.is_compiling.wait(30)
    stage.channel.commands.put(CancelCommand("a"))
    output = stage.next()
    assert isinstance(output, Failed)
    assert (output.request_id, output.code) == ("a", "cancelled")
    stage.engine.may_compile.set()
    stage.submit("b", None)
    assert stage.next() == Accepted("b", 1)
    assert stage.engine.submitted == ["b"]


def test_an_idle_heart_beats(stage: Stage) -> None:
    before = stage.heartbeat.read()
    wait_until(lambda: stage.heartbeat.read().n > before.n + 3, 30, "heartbeats")
    assert stage.heartbeat.ids_in_work() == set()


def test_it_is_told_whose_constraint_is_compiled(stage: Stage) -> None:
    stage.submit("a", "[a]")
    assert stage.engine.is_compiling.wait(30)
    assert stage.heartbeat.ids_in_work() == {"a"}
    stage.engine.may_compile.set()
    assert stage.next() == Accepted("a", 1)
    wait_until(lambda: stage.heartbeat.ids_in_work() == set(), 30, "nobody to be served")


def test_it_is_told_whom_a_step_serves_and_how_long_it_may_take(stage: Stage) -> None:
    """Held in the middle of a step."""
    may_end = threading.Event()
    engine = stage.engine

    def step() -> list[Output]:
        engine.on_step(("a", "b"), 2.0)
        assert may_end.wait(30)
        engine.has_work = False
        return []

    engine.step, engine.has_work = step, True
    wait_until(lambda: stage.heartbeat.ids_in_work() == {"a", "b"}, 30, "a step")
    wait_until(lambda: stage.heartbeat.read().allowance_s == 60.0, 30, "its allowance")
    may_end.set()
    wait_until(lambda: stage.heartbeat.ids_in_work() == set(), 30, "its end")
    assert stage.heartbeat.read().allowance_s == 0.0


def test_too_many_that_wait_are_refused(stage: Stage) -> None:
    for i in range(65):
        stage.submit(str(i), f"[a]{i}")
    output = stage.next()
    assert isinstance(output, Failed)
    assert (output.request_id, output.code) == ("64", "overloaded")
    assert output.retry_after_s


def test_once_somebody_was_refused_the_next_are_before_their_prompts_are_read(stage: Stage) -> None:
    stage.engine.now_refused = (None, AdmissionRefusal("full", 3.0), AdmissionRefusal("full", 4.0))
    stage.submit("first", None)
    assert stage.next() == Failed("first", "overloaded", "full", None, 3.0)
    assert stage.channel.refusals.get(timeout=30) == stage.engine.now_refused
    stage.submit("second", None, "low")
    assert stage.next() == Failed("second", "overloaded", "full", None, 4.0)
    assert stage.channel.refusals.get(timeout=30) == stage.engine.now_refused
    stage.submit("urgent", None, "high")
    assert stage.next() == Failed("urgent", "overloaded", "full", None, 3.0)
    assert stage.engine.submitted == ["first", "urgent"]


def test_that_nobody_is_refused_any_more_is_told_even_if_nothing_else_is(stage: Stage) -> None:
    stage.engine.now_refused = (AdmissionRefusal("full", 3.0),) * 3
    stage.submit("first", None)
    assert stage.channel.refusals.get(timeout=30) == stage.engine.now_refused
    stage.channel.commands.put(CancelCommand("another"))
    assert stage.channel.refusals.get(timeout=30) == ()
    stage.submit("second", None)
    assert stage.channel.refusals.get(timeout=30) == ()
    assert stage.engine.submitted == ["first", "second"]


def test_a_process_that_fails_ends_at_once_and_says_why() -> None:
    ours, theirs = socket.socketpair()
    heartbeat = Heartbeat()
    with ours, theirs:
        fds = (theirs.fileno(), heartbeat.fd)
        command = [sys.executable, "-m", "llmcore.worker.main", *map(str, fds)]
        ours.sendall(frame(ShutdownCommand(), msgspec.msgpack.Encoder()))  # where Configure is expected
        done = subprocess.run(command, pass_fds=fds, capture_output=True, text=True, timeout=60, check=False)
    heartbeat.close()
    assert done.returncode == 1
    assert "worker_failed" in done.stderr
    assert "expected Configure" in done.stderr
