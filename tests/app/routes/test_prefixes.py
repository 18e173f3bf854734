"""Pinned prefixes over HTTP."""

from __future__ import annotations

from typing import Any

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
from llmcore.messages import ChatPrompt, TextPrompt, TokensPrompt
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


@pytest.mark.parametrize(
    ("prompt", "passed_on"), [("Once", TextPrompt("Once")), ([1, 2], TokensPrompt((1, 2)))], ids=str
)
async def test_prompts(client: httpx.AsyncClient, engine: FakeEngine, prompt: Any, passed_on: Any) -> None:
    assert (await client.put("/v1/prefixes/a.B-1_", json={"prompt": prompt})).status_code == 200
    assert engine.pinned["a.B-1_"].prompt == passed_on


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({}, "messages", "missing_required_parameter"),
        ({**BOT, "prompt": "x"}, "prompt", "invalid_value"),
        ({"prompt": ""}, "prompt", "invalid_value"),
        ({"prompt": []}, "prompt", "invalid_value"),
        ({"prompt": ["a"]}, "prompt[0]", "invalid_type"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": [{"role": "user", "content": "x", "name": "Ada"}]}, "messages[0].name", "unsupported_parameter"),
        ({"messages": [{"role": "assistant"}]}, "messages[0].content", "missing_required_parameter"),
        ({**BOT, "ttl": 5}, "ttl", "unknown_parameter"),
    ],
    ids=str,
)
async def test_refusals_name_the_field(
    client: httpx.AsyncClient, engine: FakeEngine, body: dict[str, Any], param: str, code: str
) -> None:
    response = await client.put("/v1/prefixes/bot", json=body)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["param"], error["code"]) == (param, code)
    assert not engine.pinned


@pytest.mark.parametrize("name", ["x" * 65, "a b", "ä", "a%2Fb", "%2E%2E", "a%0A"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_names(client: httpx.AsyncClient, engine: FakeEngine, name: str, method: str) -> None:
    response = await client.request(method, f"/v1/prefixes/{name}", json=BOT)
    if "%2F" in name:  # a path like any other that there is not
        assert response.status_code == 404
        return
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "name"
    assert not engine.pinned


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
