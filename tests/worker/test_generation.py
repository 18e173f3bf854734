"""Outputs reach the reader of their request, and end it. The test plays the worker."""

from __future__ import annotations

import pytest

from llmcore.errors import (
    RequestTimeoutError,
)
from llmcore.messages import (
    Failed,
    Piece,
)
from llmcore.worker.client import AsyncEngine
from tests.scripted_worker import ScriptedWorker
from tests.worker.conversation import accepted, finished


async def test_outputs_of_one_message_reach_their_requests(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    first, second = await accepted(engine, worker, "a"), await accepted(engine, worker, "b")
    worker.step(Piece("a", "1", 1), Piece("b", "2", 1), Piece("nobody", "3", 1))
    worker.step(finished("b"), Piece("a", "4", 1))
    worker.step(finished("a", "length"))
    assert [output.text async for output in first] == ["1", "4", ""]
    assert [output.text async for output in second] == ["2", ""]
    assert first.n_prompt == 7


async def test_a_failure_in_the_middle(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    generation = await accepted(engine, worker, "a")
    worker.step(Piece("a", "1", 1), Failed("a", "timeout", "too late"))
    assert (await anext(generation)).text == "1"
    with pytest.raises(RequestTimeoutError, match="too late"):
        await anext(generation)
    with pytest.raises(StopAsyncIteration):
        await anext(generation)
