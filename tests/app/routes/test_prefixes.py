"""Pinned prefixes over HTTP."""

from __future__ import annotations

import httpx
import msgspec
import pytest

from llmcore.errors import (
    ContextLengthError,
    EngineUnavailableError,
    InvalidRequestError,
    LlmcoreError,
    OverloadedError,
)
from llmcore.messages import ChatPrompt
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine

BOT = {"messages": [{"role": "developer", "content": "Be brief."}]}


async def test_pin_list_and_unpin(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    card = {"name": "bot", "object": "prefix", "tokens": 7, "computed": True}
    response = await client.put("/v1/prefixes/bot", json=BOT)
    assert (response.status_code, response.json()) == (200, card)
    prompt = engine.pinned["bot"].prompt
    assert isinstance(prompt, ChatPrompt)
    assert not prompt.add_generation_prompt
    assert msgspec.json.decode(prompt.messages) == [{"role": "system", "content": "Be brief."}]
    assert (await client.get("/v1/prefixes")).json() == {"object": "list", "data": [card]}
    deleted = await client.delete("/v1/prefixes/bot")
    assert (deleted.status_code, deleted.json()) == (200, {"name": "bot", "object": "prefix", "deleted": True})
    assert (await client.get("/v1/prefixes")).json()["data"] == []


async def test_what_is_not_there(client: httpx.AsyncClient) -> None:
    response = await client.delete("/v1/prefixes/nobody")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "prefix_missing"


@pytest.mark.parametrize(
    ("error", "status", "param"),
    [
        (ContextLengthError("200 > 100"), 400, "messages"),
        (ContextLengthError("200 > 100", param="prompt"), 400, "messages"),
        (InvalidRequestError("32 prefixes are pinned already", param="name"), 400, "name"),
        (OverloadedError("all cells are pinned"), 429, None),
        (EngineUnavailableError("the engine is restarting"), 503, None),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_refusals_of_the_engine(
    client: httpx.AsyncClient, engine: FakeEngine, error: LlmcoreError, status: int, param: str | None
) -> None:
    engine.refusals = [error]
    response = await client.put("/v1/prefixes/bot", json=BOT)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)


async def test_draining(client: httpx.AsyncClient, service: Service) -> None:
    service.is_draining = True
    assert (await client.put("/v1/prefixes/bot", json=BOT)).status_code == 503
