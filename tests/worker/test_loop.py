"""The worker's loop: its heartbeats, and the ids that it works for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from benchmarks.service import wait_until
from llmcore.engine.engine import Engine
from llmcore.messages import (
    Accepted,
    GenerateRequest,
    Output,
    Regex,
    TextPrompt,
)
from llmcore.protocol.commands import SubmitCommand
from llmcore.protocol.framing import Channel
from llmcore.worker.heartbeat import Heartbeat
from llmcore.worker.loop import WorkerLoop
from tests.worker.compiling_stage import ScriptedChannel, ScriptedEngine, Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


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
