"""response_format, regex and grammar, as they reach the engine and as it refuses them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmcore.errors import ConstraintError, InvalidRequestError
from llmcore.messages import Constraint, GenerateRequest, Grammar, JsonObject, JsonSchema, Regex
from tests.app.fake_engine import FakeEngine, Step
from tests.app.routes.test_chat import events

CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello!"}]}
TEXT: dict[str, Any] = {"prompt": "Hello"}
URLS = {"/v1/chat/completions": CHAT, "/v1/completions": TEXT}


def named(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "thing", "schema": schema, **more}}


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({}, None),
        ({"response_format": None}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": {"type": "json_object"}}, JsonObject()),
        ({"response_format": named({"type": "null"})}, JsonSchema(b'{"type":"null"}', strict=False)),
        ({"response_format": named({"b": 1, "a": 2}, strict=True)}, JsonSchema(b'{"b":1,"a":2}', strict=True)),
        ({"response_format": named(True, description="d")}, JsonSchema(b"true", strict=False)),
        ({"regex": "[0-9]+"}, Regex("[0-9]+")),
        ({"grammar": "root ::= [a]"}, Grammar("root ::= [a]")),
        ({"grammar": "start: /a/", "response_format": {"type": "text"}}, Grammar("start: /a/")),
    ],
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
        ({"regex": "a", "grammar": "b"}, "grammar"),
        ({"response_format": {"type": "json_object"}, "regex": "a"}, "regex"),
        ({"response_format": named({}), "grammar": "a"}, "grammar"),
        ({"regex": ""}, "regex"),
        ({"regex": 5}, "regex"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.name"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": named("object")}, "response_format.json_schema.schema"),
        ({"response_format": named({}, strict="yes")}, "response_format.json_schema.strict"),
    ],
)
async def test_refusals_name_the_field(
    client: httpx.AsyncClient, engine: FakeEngine, url: str, fields: dict[str, Any], param: str
) -> None:
    response = await client.post(url, json={**URLS[url], **fields})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert not engine.requests


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"response_format": named({"not": {}})}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"regex": "("}, "regex"),
        ({"grammar": "("}, "grammar"),
    ],
)
@pytest.mark.parametrize("path", ["", ".properties.a.not"])
async def test_the_engines_refusals_name_field_path_and_keyword(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], field: str, path: str
) -> None:
    for url, body in URLS.items():
        engine.refusals = [InvalidRequestError("no", param="constraint" + path)]
        response = await client.post(url, json={**body, **fields})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == field + path


@pytest.mark.parametrize("n", [1, 2])
async def test_a_constraint_that_fails_on_the_way_is_an_error_with_its_field(
    client: httpx.AsyncClient, engine: FakeEngine, n: int
) -> None:
    def script(_: GenerateRequest) -> list[Step]:
        return ["12", ConstraintError("the answer cannot go on", param="constraint")]

    engine.script = script
    whole = await client.post("/v1/chat/completions", json={**CHAT, "regex": "[0-9]+", "n": n})
    assert whole.status_code == 400
    expected = {"message": "the answer cannot go on", "param": "regex", "code": "constraint_failed"}
    assert whole.json()["error"].items() >= expected.items()
    stream = await client.post("/v1/chat/completions", json={**CHAT, "regex": "[0-9]+", "n": n, "stream": True})
    assert stream.status_code == 200
    assert events(stream.text)[-1]["error"].items() >= expected.items()


async def test_a_format_beside_tools_is_the_engines_to_judge(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    """The engine knows what the model's template can distinguish."""
    tools = [{"type": "function", "function": {"name": "f"}}]
    fields = {**CHAT, "tools": tools, "response_format": {"type": "json_object"}}
    response = await client.post("/v1/chat/completions", json=fields)
    assert response.status_code == 200
    assert engine.requests[-1].constraint == JsonObject()
    engine.refusals = [InvalidRequestError("no", param="constraint")]
    response = await client.post("/v1/chat/completions", json=fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "response_format")


@pytest.mark.parametrize(
    ("url", "fields", "told"),
    [
        (
            "/v1/chat/completions",
            {"response_format": named({})},
            "response_format.json_schema.schema.properties.a?b.format",
        ),
        ("/v1/completions", {"guided_json": {}}, "guided_json.properties.a?b.format"),
        (
            "/v1/responses",
            {"input": "Hi", "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}}},
            "text.format.schema.properties.a?b.format",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_keywords_that_are_not_held_are_told_in_the_header(
    client: httpx.AsyncClient, engine: FakeEngine, url: str, fields: dict[str, Any], told: str, stream: bool
) -> None:
    engine.relaxed = ("properties.a b.format",)
    response = await client.post(url, json={**URLS.get(url, {}), **fields, "stream": stream})
    assert (response.status_code, response.headers["x-llmcore-ignored"]) == (200, told)
    engine.relaxed = ()
    response = await client.post(url, json={**URLS.get(url, {}), **fields})
    assert "x-llmcore-ignored" not in response.headers
