"""Forms of the answer by vLLM's and llama-server's names, as they reach the engine and as they are refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmcore.messages import Constraint, Grammar, JsonObject, JsonSchema, Regex
from tests.app.fake_engine import FakeEngine
from tests.app.schemas.test_format_fields import CHAT, TEXT

URLS = {"/v1/chat/completions": CHAT, "/v1/completions": TEXT, "/v1/responses": {"input": "Hello"}}
SCHEMA = JsonSchema(b'{"b":1,"a":2}', strict=False)


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({"guided_json": {"b": 1, "a": 2}}, SCHEMA),
        ({"guided_json": ' {"b":1,"a":2}'}, SCHEMA),
        ({"json_schema": {"b": 1, "a": 2}}, SCHEMA),
        ({"guided_regex": "[0-9]+"}, Regex("[0-9]+")),
        ({"guided_choice": ["yes", "no.", "a|b"]}, Regex(r"yes|no\.|a\|b")),
        ({"guided_grammar": "root ::= [a]"}, Grammar("root ::= [a]")),
        ({"structured_outputs": {"json": {"b": 1, "a": 2}}}, SCHEMA),
        ({"structured_outputs": {"regex": "a", "disable_fallback": True}}, Regex("a")),
        ({"structured_outputs": {"choice": ["a"]}}, Regex("a")),
        ({"structured_outputs": {"grammar": "start: /a/"}}, Grammar("start: /a/")),
        ({"structured_outputs": {"json_object": True}}, JsonObject()),
        ({"structured_outputs": {"json_object": False, "json": None}}, None),
        ({"guided_json": None, "json_schema": None, "structured_outputs": None, "guided_choice": None}, None),
    ],
    ids=str,
)
async def test_what_reaches_the_engine(
    client: httpx.AsyncClient, engine: FakeEngine, url: str, fields: dict[str, Any], constraint: Constraint | None
) -> None:
    response = await client.post(url, json={**URLS[url], **fields})
    assert response.status_code == 200, response.text
    assert engine.requests[-1].constraint == constraint


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"guided_json": {}, "regex": "a"}, "guided_json"),
        ({"guided_json": {}, "structured_outputs": {"json": {}}}, "structured_outputs.json"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs.choice"),
        ({"guided_json": 5}, "guided_json"),
        ({"guided_json": "5"}, "guided_json"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_choice": "yes"}, "guided_choice"),
        ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag"),
        ({"structured_outputs": {"disable_any_whitespace": True}}, "structured_outputs.disable_any_whitespace"),
    ],
    ids=str,
)
async def test_refusals_name_the_field(
    client: httpx.AsyncClient, engine: FakeEngine, url: str, fields: dict[str, Any], param: str
) -> None:
    response = await client.post(url, json={**URLS[url], **fields})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert not engine.requests


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"\xff"', b'"{\\"a\\": \xff}"'], ids=str)
async def test_a_schema_that_is_no_text_is_refused(client: httpx.AsyncClient, text: bytes) -> None:
    body = b'{"prompt": "x", "guided_json": ' + text + b"}"
    response = await client.post("/v1/completions", content=body)
    assert response.status_code == 400
    assert response.json()["error"]["code"] in ("invalid_json", "invalid_type")


async def test_two_formats_are_refused(client: httpx.AsyncClient) -> None:
    both = {"response_format": {"type": "json_object"}, "guided_choice": ["a"]}
    error = (await client.post("/v1/chat/completions", json={**CHAT, **both})).json()["error"]
    assert error["param"] == "guided_choice"
    assert "response_format and guided_choice both set the format" in error["message"]
