"""A coroutine ends with its result, or with the client's connection."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from llmcore_app.http.disconnect import while_connected
from llmcore_app.http.errors import ClientDisconnected


async def connected() -> Message:
    await asyncio.Event().wait()
    return {"type": "http.disconnect"}


async def disconnected() -> Message:
    return {"type": "http.disconnect"}


async def test_the_result_is_returned() -> None:
    assert await while_connected(connected, asyncio.sleep(0, "result")) == "result"


async def test_an_error_of_the_coroutine_is_raised() -> None:
    async def fail() -> None:
        raise ValueError("bad")

    with pytest.raises(ValueError, match="bad"):
        await while_connected(connected, fail())


async def test_a_disconnect_cancels_the_coroutine_and_waits_for_its_cleanup() -> None:
    steps = []

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            steps.append("cleaned up")

    with pytest.raises(ClientDisconnected):
        await while_connected(disconnected, run())
    assert steps == ["cleaned up"]


async def test_no_task_is_left() -> None:
    await while_connected(connected, asyncio.sleep(0))
    assert asyncio.all_tasks() == {asyncio.current_task()}
