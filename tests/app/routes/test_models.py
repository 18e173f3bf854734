"""GET /v1/models."""

from __future__ import annotations

import httpx

from tests.app.fake_engine import FakeEngine


async def test_models(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    card = listed["data"][0]
    assert (card["id"], card["object"], card["context_length"]) == ("fake", "model", 100)
    assert (await client.get("/v1/models/fake")).json() == card
    engine.model = None
    assert (await client.get("/v1/models")).json()["data"][0]["context_length"] is None
