"""Requests to /v1/responses: fields without effect are accepted, all others are honoured or refused by name."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from llmcore.errors import ContextLengthError, InvalidRequestError
from llmcore_app.schemas.responses_request import ResponsesRequest
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_responses import CALL, CLOCK, OFF, post, prompt_of

HARMLESS: list[dict[str, Any]] = [
    {"store": False, "background": False, "truncation": "disabled", "top_logprobs": 0, "context_management": []},
    {"include": ["reasoning.encrypted_content", "file_search_call.results"]},
    {"text": {"format": {"type": "text"}, "verbosity": "medium"}},
    {"include": [], "regex": None, "grammar": None},
    {"reasoning": {"summary": "auto", "generate_summary": None}},
    {"tools": [], "tool_choice": "none"},
    {"service_tier": "auto"},
    {"stream": True, "stream_options": {"include_obfuscation": False}},
    {"stream_options": {}},
]


@pytest.mark.parametrize("fields", HARMLESS, ids=str)
async def test_what_changes_nothing_is_accepted(client: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    response = await post(client, **fields)
    assert response.status_code == 200, response.text


def item(**fields: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "x"}, fields]}


def part(**fields: Any) -> dict[str, Any]:
    return item(role="user", content=[fields])


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": [{"type": "function", "name": name} for name in names]}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # known, not supported
    ({"store": 0}, "store", "invalid_type"),
    ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
    ({"conversation": {"id": "conv_1"}}, "conversation", "unsupported_parameter"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_parameter"),
    ({"background": True}, "background", "unsupported_parameter"),
    ({"truncation": "auto"}, "truncation", "unsupported_parameter"),
    ({"context_management": [{"type": "compaction"}]}, "context_management", "unsupported_parameter"),
    ({"include": ["message.output_text"]}, "include[0]", "invalid_value"),
    ({"reasoning": {"summary": "detailed"}}, "reasoning.summary", "unsupported_parameter"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
    ({"service_tier": "flex", "priority": "high"}, "service_tier", "invalid_value"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_value"),
    ({"tools": [{**CLOCK, "async": True}]}, "tools[0].async", "unsupported_parameter"),
    ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
    ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools[0].function", "unsupported_parameter"),
    ({"tools": [CLOCK, CLOCK]}, "tools[1].name", "invalid_value"),
    ({"tools": [{**CLOCK, "parameters": {"enum": [0] * 6000}}]}, "tools[0].parameters", "invalid_value"),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ({"tools": [CLOCK], "tool_choice": {"type": "function", "name": "b"}}, "tool_choice.name", "invalid_value"),
    ({"tool_choice": {"type": "mcp"}}, "tool_choice.type", "unsupported_value"),
    ({"tools": [CLOCK], "tool_choice": allowed("auto", "clock", "b")}, "tool_choice.tools[1].name", "invalid_value"),
    ({"tools": [CLOCK], "tool_choice": allowed("none", "clock")}, "tool_choice.mode", "invalid_value"),
    # of other endpoints
    ({"messages": []}, "messages", "unsupported_parameter"),
    ({"max_tokens": 5}, "max_tokens", "unsupported_parameter"),
    ({"n": 2}, "n", "unsupported_parameter"),
    ({"response_format": {"type": "json_object"}}, "response_format", "unsupported_parameter"),
    ({"logprobs": True}, "logprobs", "unsupported_parameter"),
    # wrong
    ({"temperature": 100.1}, "temperature", "invalid_value"),
    ({"guided_regex": "a", "text": {"format": {"type": "json_object"}}}, "guided_regex", "invalid_value"),
    ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
    ({"metadata": 1}, "metadata", "invalid_type"),
    # items
    ({"input": None}, "input", "invalid_type"),
    ({"input": []}, "input", "invalid_value"),
    ({"input": [5]}, "input[0]", "invalid_type"),
    (item(id="msg_1", type="item_reference"), "input[1].type", "unsupported_value"),
    (item(type=5), "input[1].type", "invalid_type"),
    (item(content="x"), "input[1].role", "missing_required_parameter"),
    (item(role="tool", content="x"), "input[1].role", "invalid_value"),
    (item(role="user"), "input[1].content", "missing_required_parameter"),
    (item(role="user", content=[]), "input[1].content", "invalid_value"),
    (item(role="user", content="x", status="done"), "input[1].status", "invalid_value"),
    (item(role="assistant", content="x", phase="commentary"), "input[1].phase", "unsupported_parameter"),
    (part(type="input_text", text=5), "input[1].content[0].text", "invalid_type"),
    (part(type="input_image", image_url="x"), "input[1].content[0].type", "unsupported_value"),
    (part(type="output_text", text="x", annotations=[{}]), "input[1].content[0].annotations", ""),
    (item(**{**CALL, "async": True}), "input[1].async", "unsupported_parameter"),
    (item(type="function_call", call_id="c", name="x"), "input[1].arguments", "missing_required_parameter"),
    (item(type="reasoning", encrypted_content="x"), "input[1].encrypted_content", "unsupported_parameter"),
]


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED, ids=lambda value: str(value)[:60])
async def test_refusals_name_the_field(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], param: str, code: str
) -> None:
    response = await post(client, **fields)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    code = code or "unsupported_parameter"
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert param.split("[")[0].split(".")[-1] in error["message"]
    assert not engine.requests


@pytest.mark.parametrize(
    ("refusal", "param", "message"),
    [
        (ContextLengthError("too long", param="messages"), "input", "too long"),
        (InvalidRequestError("no efforts", param="reasoning_effort"), "reasoning.effort", "no efforts"),
        (
            InvalidRequestError("tools[2].function.parameters: no", param="tools[2].function.parameters"),
            "tools[2].parameters",
            "tools[2].parameters: no",
        ),
        (InvalidRequestError("bad"), "input", "bad"),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [True, False])
async def test_what_the_engine_refuses_is_told_by_this_api_s_names(
    client: httpx.AsyncClient, engine: FakeEngine, refusal: InvalidRequestError, param: str, message: str, stream: bool
) -> None:
    engine.refusals = [refusal]
    response = await post(client, stream=stream)
    assert response.status_code == 400
    assert (response.json()["error"]["param"], response.json()["error"]["message"]) == (param, message)


async def test_unknown_model(client: httpx.AsyncClient) -> None:
    response = await post(client, model="gpt-4o")
    assert (response.status_code, response.json()["error"]["param"]) == (404, "model")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b'{"input": [{"role": "user", "content": "\xff"}]}', "invalid_json"),
        (b'{"input": [' + b"[" * 5000 + b"]" * 5000 + b"]}", "invalid_json"),
        (b'{"input": [{"role": "user", "content": ', "invalid_json"),
        (b"", "empty_body"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_bad_bodies(client: httpx.AsyncClient, body: bytes, code: str) -> None:
    response = await client.post("/v1/responses", content=body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


async def test_parameters_reach_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    values: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "seed": 1, "frequency_penalty": 0.5}
    ours = {"priority": "high", "timeout": 2.5, "ignore_eos": True, "chat_template_kwargs": {"a": 1}}
    response = await post(client, **values, **ours, stop=["a"], max_output_tokens=9, model="fake")
    assert response.status_code == 200, response.text
    assert response.json()["service_tier"] == "priority"
    request = engine.requests[0]
    assert {name: getattr(request.sampling, name) for name in values} == values
    assert (request.stop, request.max_tokens, request.ignore_eos) == (("a",), 9, True)
    assert (request.priority, request.timeout_s) == ("high", 2.5)
    assert msgspec.json.decode(prompt_of(engine).template_args) == {"a": 1}


async def test_tools_reach_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    named = {"type": "function", "name": "off"}
    strict = {**CLOCK, "strict": True, "defer_loading": False, "async": False, "allowed_callers": ["direct"]}
    asked = {"tools": [strict, OFF], "tool_choice": named, "parallel_tool_calls": False, "reasoning": {"effort": "low"}}
    assert (await post(client, **asked)).status_code == 200
    prompt = prompt_of(engine)
    clock = {"name": "clock", "description": "The time", "parameters": {"type": "object"}, "strict": True}
    assert msgspec.json.decode(prompt.tools) == [
        {"type": "function", "function": clock},
        {"type": "function", "function": {"name": "off"}},
    ]
    assert (prompt.tool_choice, prompt.tool_name, prompt.parallel_tool_calls) == ("required", "off", False)
    assert prompt.reasoning_effort == "low"
    assert prompt.add_generation_prompt


async def test_only_allowed_tools_reach_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    choice = allowed("required", "off")
    response = await post(client, tools=[CLOCK, OFF], tool_choice=choice)
    assert response.status_code == 200, response.text
    prompt = prompt_of(engine)
    assert msgspec.json.decode(prompt.tools) == [{"type": "function", "function": {"name": "off"}}]
    assert (prompt.tool_choice, prompt.tool_name) == ("required", "")
    assert response.json()["tool_choice"] == choice
    assert [each["name"] for each in response.json()["tools"]] == ["clock", "off"]


async def test_null_means_absent(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await post(client, **dict.fromkeys(sorted(set(ResponsesRequest.__struct_fields__) - {"input"})))
    assert response.status_code == 200, response.text
    assert engine.requests[0].sampling.temperature == 1.0
    assert engine.requests[0].max_tokens is None
    assert response.json()["temperature"] == 1.0
