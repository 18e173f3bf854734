"""Text endpoints over HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmcore.errors import InvalidRequestError
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine


@pytest.mark.parametrize(
    ("fields", "add", "parse"),
    [
        ({}, 0, 1),
        ({"add_special": None, "parse_special": None}, 0, 1),
        ({"add_special": True, "parse_special": False}, 1, 0),
        ({"content": None, "prompt": "ab"}, 1, 1),
        ({"content": None, "prompt": "ab", "add_special_tokens": False, "model": "fake"}, 0, 1),
        ({"prompt": "ab", "add_special": True, "add_special_tokens": True}, 1, 1),
    ],
    ids=str,
)
async def test_tokenize(client: httpx.AsyncClient, fields: dict[str, Any], add: int, parse: int) -> None:
    response = await client.post("/tokenize", json={"content": "ab", **fields})
    answer = {"tokens": [add, parse, 97, 98], "count": 4, "max_model_len": 100}
    assert (response.status_code, response.json()) == (200, answer)


@pytest.mark.parametrize("path", ["/tokenize", "/detokenize"])
async def test_another_model(client: httpx.AsyncClient, path: str) -> None:
    response = await client.post(path, json={"content": "a", "tokens": [97], "model": "other"})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


async def test_detokenize(client: httpx.AsyncClient) -> None:
    response = await client.post("/detokenize", json={"tokens": [97, 98]})
    assert (response.status_code, response.json()) == (200, {"content": "ab", "prompt": "ab"})


async def test_apply_template(client: httpx.AsyncClient) -> None:
    messages = [{"role": "developer", "content": "x"}]
    response = await client.post("/apply-template", json={"messages": messages})
    assert (response.status_code, response.json()) == (200, {"prompt": '[{"role":"system","content":"x"}] True'})
    response = await client.post("/apply-template", json={"messages": messages, "add_generation_prompt": False})
    assert response.json()["prompt"].endswith("False")


async def test_what_the_engine_refuses(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.refusals.append(InvalidRequestError("token 9 is not in the vocabulary", param="tokens"))
    response = await client.post("/detokenize", json={"tokens": [9]})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "tokens")


async def test_draining_and_wrong_methods(client: httpx.AsyncClient, service: Service) -> None:
    assert (await client.get("/tokenize")).status_code == 405
    service.is_draining = True
    assert (await client.post("/tokenize", json={"content": "x"})).status_code == 503
