"""Calls for vectors that end early."""

from __future__ import annotations

import asyncio

import httpx

from tests.app.conftest import Running
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_embeddings import PATH


async def test_a_cancel_by_id(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.admission = asyncio.Event()
    posted = asyncio.create_task(client.post(PATH, json={"input": "a"}, headers={"x-request-id": "me"}))
    while not engine.embedded:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    cancelled = await client.delete("/v1/requests/me")
    assert cancelled.json()["cancelled"] == 1
    response = await posted
    assert (response.status_code, response.headers["x-should-retry"]) == (409, "false")
    assert engine.cancelled == ["vectors"]
    assert (await client.delete("/v1/requests/me")).status_code == 404


async def test_a_client_that_leaves(running: Running, engine: FakeEngine) -> None:
    engine.admission = asyncio.Event()
    async with httpx.AsyncClient(base_url=running.url) as client:
        posted = asyncio.create_task(client.post(PATH, json={"input": "a"}))
        while not engine.embedded:
            await asyncio.sleep(0.01)
        posted.cancel()
        await asyncio.gather(posted, return_exceptions=True)
    while not engine.cancelled:
        await asyncio.sleep(0.01)
