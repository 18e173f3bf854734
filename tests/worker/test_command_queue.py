"""The queue of the engine's thread: order, waiting, and cancels that interrupt the step."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmcore.protocol.commands import AbandonCommand, CancelCommand, GetStatsCommand
from llmcore.worker.command_queue import CommandQueue
from llmcore.worker.preparation import PreparedRequest, Task


class InterruptedEngine:
    """Notes what it was interrupted for."""

    def __init__(self) -> None:
        self.requests: list[frozenset[str]] = []
        self.calls: list[frozenset[int]] = []
        self.embeddings = SimpleNamespace(interrupt=self.calls.append)

    def interrupt(self, request_ids: frozenset[str]) -> None:
        self.requests.append(request_ids)


@pytest.fixture
def engine() -> InterruptedEngine:
    return InterruptedEngine()


def put(queue: CommandQueue, engine: InterruptedEngine, *commands: Any) -> None:
    for each in commands:
        queue.put(each, cast(Any, engine))


def test_commands_and_results_come_in_order(engine: InterruptedEngine) -> None:
    queue = CommandQueue()
    prepared = PreparedRequest(Task(1, GetStatsCommand(1), 0.0, 1.0), "done", None)
    put(queue, engine, GetStatsCommand(1))
    queue.put_prepared(prepared)
    put(queue, engine, GetStatsCommand(2))
    assert queue.take(wait_s=0) == [GetStatsCommand(1), prepared, GetStatsCommand(2)]
    assert queue.take(wait_s=0) == []


def test_an_empty_queue_is_waited_for() -> None:
    before = time.monotonic()
    assert CommandQueue().take(wait_s=0.05) == []
    assert time.monotonic() - before >= 0.05


def test_a_cancel_interrupts_for_all_that_are_cancelled_and_not_yet_taken(engine: InterruptedEngine) -> None:
    queue = CommandQueue()
    put(queue, engine, CancelCommand("a"), CancelCommand("b"), AbandonCommand(7))
    assert engine.requests == [{"a"}, {"a", "b"}]
    assert engine.calls == [{7}]
    queue.take(wait_s=0)
    put(queue, engine, CancelCommand("c"), AbandonCommand(8))
    assert engine.requests[-1] == {"c"}
    assert engine.calls[-1] == {8}
