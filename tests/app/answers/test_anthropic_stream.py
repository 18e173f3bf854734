"""A streamed message: pings while it is silent, its own id in errors, and the end of a client."""

from __future__ import annotations

import asyncio

import httpx

from llmcore_app.application import create_app, create_service
from llmcore_app.config import ServerConfig
from tests.app.conftest import Running
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_anthropic import HELLO, URL, events
from tests.app.routes.test_responses import CALLING

STREAM = {**HELLO, "stream": True}


async def test_pings_while_silent() -> None:
    engine = FakeEngine(lambda request: ["a", 0.2, "b"])
    app = create_app(create_service(engine, ServerConfig(sse_keep_alive_s=0.05), "fake"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        found = events((await client.post(URL, json=STREAM)).text)
    kinds = [event["type"] for event in found]
    assert kinds[:2] == ["message_start", "ping"]
    assert "ping" in kinds[4:-3]


async def test_a_disconnect_cancels(running: Running, engine: FakeEngine) -> None:
    body = {**STREAM, "max_tokens": 10_000, "messages": [{"role": "user", "content": "forever"}]}
    async with (
        httpx.AsyncClient(base_url=running.url) as client,
        client.stream("POST", URL, json=body) as response,
    ):
        async for _ in response.aiter_lines():
            break
        assert engine.open
    while engine.open:
        await asyncio.sleep(0.01)
    assert len(engine.cancelled) == 1


async def test_blocks_end_before_the_next_begins(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    index = -1
    is_open = False
    for event in events((await client.post(URL, json=STREAM)).text):
        if event["type"] == "content_block_start":
            assert not is_open
            index, is_open = index + 1, True
        if event["type"].startswith("content_block"):
            assert is_open
            assert event["index"] == index
        if event["type"] == "content_block_stop":
            is_open = False
    assert not is_open
