"""text.format, regex and grammar of /v1/responses: at the engine, repeated in the reply, and refused."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from llmcore.errors import ConstraintError, InvalidRequestError
from llmcore.messages import Constraint, GenerateRequest, Grammar, JsonObject, JsonSchema, Regex
from tests.app.fake_engine import FakeEngine, Step
from tests.app.routes.test_responses import CLOCK, URL, events, post, streamed


def formatted(**fields: Any) -> dict[str, Any]:
    return {"text": {"format": fields}}


def named(schema: Any, **more: Any) -> dict[str, Any]:
    return formatted(type="json_schema", name="thing", schema=schema, **more)


@pytest.mark.parametrize(
    ("fields", "constraint"),
    [
        ({}, None),
        ({"text": {"format": None}}, None),
        (formatted(type="text"), None),
        (formatted(type="json_object"), JsonObject()),
        (named({"type": "null"}), JsonSchema(b'{"type":"null"}', strict=False)),
        (named({"b": 1, "a": 2}, strict=True), JsonSchema(b'{"b":1,"a":2}', strict=True)),
        (named(True, description="d", strict=False), JsonSchema(b"true", strict=False)),
        ({**formatted(type="json_object"), "tools": [CLOCK]}, JsonObject()),
        ({"regex": "[0-9]+"}, Regex("[0-9]+")),
        ({**formatted(type="text"), "grammar": "start: /a/"}, Grammar("start: /a/")),
    ],
    ids=str,
)
async def test_what_reaches_the_engine(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], constraint: Constraint | None
) -> None:
    response = await post(client, **fields)
    assert response.status_code == 200, response.text
    assert engine.requests[-1].constraint == constraint


@pytest.mark.parametrize(
    ("given", "defaults"),
    [
        ({"type": "text"}, {}),
        ({"type": "json_object"}, {}),
        ({"type": "json_schema", "name": "a", "schema": {"b": 1.50, "a": []}}, {"description": None, "strict": False}),
        ({"type": "json_schema", "name": "a", "schema": True, "description": "d", "strict": True}, {}),
    ],
    ids=str,
)
async def test_the_format_is_told_again(
    client: httpx.AsyncClient, given: dict[str, Any], defaults: dict[str, Any]
) -> None:
    found = await streamed(client, text={"format": given})
    responses = [event["response"] for event in found if "response" in event]
    responses.append((await post(client, text={"format": given})).json())
    assert [response["text"] for response in responses] == [{"format": {**given, **defaults}}] * 4


async def test_a_schema_of_several_lines_breaks_no_event(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    schema = '{\r\n  "b" : 1e400,\n\n  "a": "\\n \u2028"\r}'
    body = '{"input": "x", "stream": true, "text": {"format": {"schema": %s, "name": "a", "type": "json_schema"}}}'
    response = await client.post(URL, content=body % schema)
    assert engine.requests[-1].constraint == JsonSchema(schema.encode(), strict=False)
    assert '"schema":{"b":1e400,"a":"\\n \u2028"}' in response.text
    assert "\r" not in response.text
    assert events(response.text)[0]["response"]["text"]["format"]["schema"] == json.loads(schema)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"regex": "a", "grammar": "b"}, "grammar", "invalid_value"),
        ({**formatted(type="json_object"), "regex": "a"}, "regex", "invalid_value"),
        ({**named({}), "grammar": "a"}, "grammar", "invalid_value"),
        ({"regex": ""}, "regex", "invalid_value"),
        (formatted(), "text.format.type", "missing_required_parameter"),
        (formatted(type="xml"), "text.format.type", "invalid_value"),
        (formatted(type="json_object", schema={}), "text.format.schema", "unsupported_parameter"),
        (formatted(type="json_schema", name="a"), "text.format.schema", "missing_required_parameter"),
        (formatted(type="json_schema", schema={}), "text.format.name", "missing_required_parameter"),
        (formatted(type="json_schema", schema={}, name="a b"), "text.format.name", "invalid_value"),
        (named([None]), "text.format.schema", "invalid_type"),
        (named(None), "text.format.schema", "invalid_type"),
        (named({}, strict="yes"), "text.format.strict", "invalid_type"),
        (
            formatted(type="json_schema", json_schema={"name": "a", "schema": {}}),
            "text.format.json_schema",
            "unsupported",
        ),
    ],
    ids=str,
)
async def test_refusals_name_the_field(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], param: str, code: str
) -> None:
    response = await post(client, **fields)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert error["code"].startswith(code)
    assert param in error["message"]
    assert not engine.requests


async def test_a_schema_that_is_no_text_is_refused(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    body = (
        b'{"input": "x", "text": {"format": {"type": "json_schema", "name": "a", "schema": {"const": "\xed\xa0\x80"}}}}'
    )
    response = await client.post(URL, content=body)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (400, "text.format.schema", "invalid_json")
    assert not engine.requests


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        (named({"not": {}}), "text.format.schema"),
        (formatted(type="json_object"), "text.format"),
        ({"regex": "("}, "regex"),
        ({"grammar": "("}, "grammar"),
    ],
)
@pytest.mark.parametrize("path", ["", ".properties.a.not", ".properties.tools[0].function.not"])
@pytest.mark.parametrize("stream", [True, False])
async def test_the_engines_refusals_name_field_path_and_keyword(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], field: str, path: str, stream: bool
) -> None:
    engine.refusals = [InvalidRequestError("no", param="constraint" + path)]
    response = await post(client, **fields, stream=stream)
    assert (response.status_code, response.json()["error"]["param"]) == (400, field + path)


async def test_a_constraint_that_fails_on_the_way_is_an_error_with_its_field(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    def script(_: GenerateRequest) -> list[Step]:
        return ["12", ConstraintError("the answer cannot go on", param="constraint")]

    engine.script = script
    expected = {"message": "the answer cannot go on", "param": "text.format.schema", "code": "constraint_failed"}
    whole = await post(client, **named({"type": "integer"}))
    assert whole.status_code == 400
    assert whole.json()["error"].items() >= expected.items()
    *_, failed, error = await streamed(client, **named({"type": "integer"}))
    assert error["error"].items() >= expected.items()
    assert failed["response"]["output"][0]["content"][0]["text"] == "12"
