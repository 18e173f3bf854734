"""Answers in one piece."""

from __future__ import annotations

import asyncio

from llmcore_app.service.service import Service
from tests.app.answers.test_streamed_answer import Caller, waiting
from tests.app.fake_engine import FakeEngine


async def test_nothing_is_sent_before_the_answer_is_complete(service: Service, engine: FakeEngine) -> None:
    go_on = asyncio.Event()
    engine.script = lambda request: ["a", go_on, "b"]
    caller = Caller(service, stream=False)
    task = asyncio.create_task(caller.call())
    while not engine.open:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert not caller.sent
    go_on.set()
    await task
    start, body = caller.sent
    assert start["status"] == 200
    assert int(dict(start["headers"])[b"content-length"]) == len(body["body"])
    assert b'"content":"ab"' in body["body"]


async def test_all_choices_are_cancelled_if_the_client_leaves(service: Service, engine: FakeEngine) -> None:
    engine.script = waiting
    caller = Caller(service, stream=False, path="/v1/completions", prompt=["a", "b"])
    task = asyncio.create_task(caller.call())
    while len(engine.open) < 2:
        await asyncio.sleep(0)
    caller.left.set()
    await task
    assert len(engine.cancelled) == 2
    assert not caller.sent
