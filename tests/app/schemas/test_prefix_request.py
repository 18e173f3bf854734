"""Requests to pin a prefix, as they reach the engine and as they are refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmcore.messages import TextPrompt, TokensPrompt
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_prefixes import BOT


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
