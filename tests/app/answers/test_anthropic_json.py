"""A message in one piece is cancelled when its client leaves."""

from __future__ import annotations

import asyncio

import httpx

from tests.app.conftest import Running
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_anthropic import HELLO, URL

FOREVER = {**HELLO, "messages": [{"role": "user", "content": "forever"}]}


async def test_a_disconnect_cancels(running: Running, engine: FakeEngine) -> None:
    async with httpx.AsyncClient(base_url=running.url) as client:
        answer = asyncio.create_task(client.post(URL, json={**FOREVER, "max_tokens": 10_000}))
        while not engine.open:
            await asyncio.sleep(0.01)
        answer.cancel()
        while engine.open:
            await asyncio.sleep(0.01)
    assert len(engine.cancelled) == 1


async def test_a_cancel_by_id_is_an_error(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = asyncio.create_task(
        client.post(URL, json={**FOREVER, "max_tokens": 10_000}, headers={"x-request-id": "mine"})
    )
    while not engine.open:
        await asyncio.sleep(0.01)
    assert (await client.delete("/v1/requests/mine")).status_code == 200
    response = await answer
    assert (response.status_code, response.json()["error"]["type"]) == (409, "invalid_request_error")
