"""Preparing beside the engine's thread: nobody waits for it, whoever leaves is forgotten, what hangs is told."""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection, Iterator
from typing import Any

import pytest

from benchmarks.service import wait_until
from llmcore.errors import OverloadedError
from llmcore.protocol.commands import TokenizeCommand
from llmcore.worker.preparation import N_PREPARING_MAX, Id, Preparation, PreparedRequest

CALL = TokenizeCommand(1, "a", True, False)


class HeldTool:
    """A piece of work that a test lets go."""

    def __init__(self, result: Any = "done") -> None:
        self.has_begun, self.may_end = threading.Event(), threading.Event()
        self._result = result

    def __call__(self) -> Any:
        self.has_begun.set()
        assert self.may_end.wait(30)
        if isinstance(self._result, Exception):
            raise self._result
        return self._result


class Stage:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.done: queue.Queue[PreparedRequest] = queue.Queue()
        self.served: list[set[Id]] = []
        self.preparation = Preparation(self.done.put, self._serve, max_s=5.0, clock=lambda: self.now_s)
        self._held: list[HeldTool] = []

    def _serve(self, ids: Collection[Id]) -> None:
        self.served.append(set(ids))

    def begin(self, id: Id, result: Any = "done", **options: Any) -> HeldTool:
        held = HeldTool(result)
        self._held.append(held)
        self.preparation.start(id, CALL, options.pop("lane", "read"), held, **options)
        return held

    def end(self) -> None:
        for each in self._held:
            each.may_end.set()
        assert self.preparation.close(wait_s=30)


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.end()


def test_a_result_comes_and_is_taken_once(stage: Stage) -> None:
    stage.begin("a").may_end.set()
    prepared = stage.done.get(timeout=30)
    assert (prepared.task.id, prepared.result, prepared.error) == ("a", "done", None)
    assert stage.preparation.claim(prepared.task)
    assert not stage.preparation.claim(prepared.task)
    assert stage.served == [{"a"}, set()]


def test_an_error_comes_as_a_result_does(stage: Stage) -> None:
    stage.begin("a", ValueError("no")).may_end.set()
    assert str(stage.done.get(timeout=30).error) == "no"


def test_whoever_is_taken_before_his_turn_costs_nothing(stage: Stage) -> None:
    first, second = stage.begin("a"), stage.begin("b")
    assert first.has_begun.wait(30)
    assert stage.preparation.discard("b")
    assert not stage.preparation.discard("b")
    third = stage.begin("c")
    first.may_end.set()
    third.may_end.set()
    assert [stage.done.get(timeout=30).task.id for _ in range(2)] == ["a", "c"]
    assert not second.has_begun.is_set()


def test_a_result_of_one_who_left_is_not_that_of_the_next_with_his_id(stage: Stage) -> None:
    old = stage.begin("a", "old")
    assert old.has_begun.wait(30)
    assert stage.preparation.discard("a")
    new = stage.begin("a", "new")
    old.may_end.set()
    new.may_end.set()
    first, second = (stage.done.get(timeout=30) for _ in range(2))
    assert not stage.preparation.claim(first.task)
    assert stage.preparation.claim(second.task)
    assert second.result == "new"


def test_lanes_do_not_wait_for_each_other(stage: Stage) -> None:
    large = stage.begin("large", lane="read_large")
    assert large.has_begun.wait(30)
    stage.begin("a").may_end.set()
    stage.begin("b", lane="compile").may_end.set()
    assert {stage.done.get(timeout=30).task.id for _ in range(2)} == {"a", "b"}
    assert {"large", "a"} in stage.served or {"large", "b"} in stage.served


def test_deadlines(stage: Stage) -> None:
    stage.begin("never")
    assert stage.preparation.left_s() == float("inf")
    stage.begin("soon", timeout_s=2.0)
    stage.begin("later", timeout_s=3.0)
    assert stage.preparation.left_s() == 2.0
    stage.now_s = 1.0
    assert stage.preparation.take_expired() == []
    stage.now_s = 2.5
    (late,) = stage.preparation.take_expired()
    assert (late.id, stage.preparation.left_s()) == ("soon", 0.5)
    assert not stage.preparation.discard("soon")
    stage.now_s = 4.0
    assert stage.preparation.left_s() == 0.0


def test_what_runs_for_too_long_is_told(stage: Stage) -> None:
    held = stage.begin("a")
    assert held.has_begun.wait(30)
    waiting = stage.begin("b")
    stage.now_s = 5.0
    assert stage.preparation.overdue() is None
    stage.now_s = 5.1
    assert stage.preparation.overdue() == "a"
    stage.preparation.discard("a")
    assert stage.preparation.overdue() == "a", "it still runs"
    held.may_end.set()
    assert waiting.has_begun.wait(30)
    assert stage.preparation.overdue() is None, "the time of the second begins with its turn"


def test_too_many_are_refused(stage: Stage) -> None:
    for i in range(N_PREPARING_MAX):
        stage.begin(i)
    with pytest.raises(OverloadedError):
        stage.begin("more")
    assert stage.preparation.discard(N_PREPARING_MAX - 1)
    stage.begin("more")


def test_what_is_at_work_at_the_end_is_told(stage: Stage) -> None:
    held = stage.begin("a")
    assert held.has_begun.wait(30)
    assert not stage.preparation.close(wait_s=0)
    held.may_end.set()
    wait_until(lambda: stage.preparation.close(wait_s=0), 30, "its end")
