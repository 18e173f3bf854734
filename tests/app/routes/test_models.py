"""GET /v1/models."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmcore_app.application import create_app, create_service
from llmcore_app.config import ServerConfig
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, URL


async def test_models(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    card = listed["data"][0]
    assert (card["id"], card["object"], card["context_length"]) == ("fake", "model", 100)
    assert (card["root"], card["max_model_len"]) == ("fake", 100)
    assert (await client.get("/v1/models/fake")).json() == card
    unknown = await client.get("/v1/models/other")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    engine.model = None
    assert (await client.get("/v1/models")).json()["data"][0]["context_length"] is None


def client_with(engine: FakeEngine, **options: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(create_app(create_service(engine, ServerConfig(**options), "fake")))
    return httpx.AsyncClient(transport=transport, base_url="http://service")


async def test_aliases_are_listed_and_served(engine: FakeEngine) -> None:
    async with client_with(engine, model_alias="gpt-4o-mini, org/small") as client:
        listed = (await client.get("/v1/models")).json()
        assert [card["id"] for card in listed["data"]] == ["fake", "gpt-4o-mini", "org/small"]
        assert {card["root"] for card in listed["data"]} == {"fake"}
        assert (await client.get("/v1/models/org/small")).json()["id"] == "org/small"
        response = await client.post(URL, json={**HELLO, "model": "gpt-4o-mini"})
        assert (response.status_code, response.json()["model"]) == (200, "fake")
        assert "x-llmcore-ignored" not in response.headers
        assert (await client.post(URL, json={**HELLO, "model": "gpt-4"})).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (URL, HELLO),
        (URL, {**HELLO, "stream": True}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/responses", {"input": "x"}),
        ("/v1/embeddings", {"input": "x"}),
        ("/v1/rerank", {"query": "x", "documents": ["y"]}),
    ],
)
async def test_any_model_is_the_served_one(engine: FakeEngine, path: str, body: dict[str, Any]) -> None:
    async with client_with(engine, any_model=True) as client:
        response = await client.post(path, json={**body, "model": "gpt-4o"})
        assert response.status_code == 200, response.text
        assert response.headers["x-llmcore-ignored"] == "model"
        assert '"model":"fake"' in response.text
        assert "gpt-4o" not in response.text
        assert (await client.get("/v1/models/gpt-4o")).json()["id"] == "fake"
