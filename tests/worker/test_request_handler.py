"""Requests in the worker: constraints are compiled beside the steps, and requests that would be refused are not read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmcore.messages import (
    Accepted,
    AdmissionRefusal,
    Failed,
)
from llmcore.protocol.commands import CancelCommand
from tests.worker.compiling_stage import Stage


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
