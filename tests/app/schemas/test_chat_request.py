"""Requests to /v1/chat/completions: fields without effect are accepted, all others are honoured or refused by name."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from llmcore.messages import ChatPrompt
from llmcore_app.schemas.chat_request import ChatRequest
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, post
from tests.app.schemas.test_messages import message
from tests.app.schemas.test_tools import allowed, nested, tool


async def test_null_means_absent(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    absent = sorted(set(ChatRequest.__struct_fields__) - {"messages"})
    response = await post(client, **dict.fromkeys(absent))
    assert response.status_code == 200, response.text
    assert engine.requests[0].sampling.temperature == 1.0
    assert engine.requests[0].max_tokens is None
    assert (engine.requests[0].priority, engine.requests[0].timeout_s) == ("normal", None)


HARMLESS: list[dict[str, Any]] = [
    {"n": 1},
    {"user": "u", "safety_identifier": "s", "prompt_cache_key": "k", "metadata": {"a": "b"}},
    {"store": False, "logprobs": False, "top_logprobs": 0},
    {"service_tier": "auto"},
    {"service_tier": "default"},
    {"prediction": {"type": "content", "content": "x"}},
    {"tools": [], "tool_choice": "none", "parallel_tool_calls": True, "functions": [], "function_call": "auto"},
    {"response_format": {"type": "text"}},
    {"modalities": ["text"], "audio": None},
    {"verbosity": "medium"},
    {"stop": []},
    {"stop": list("abcdefghijklmnop"), "id_slot": 3, "cache_prompt": True},
    {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    {"max_tokens": 5, "max_completion_tokens": 5, "n_predict": 5},
    {"temperature": 100},
]


@pytest.mark.parametrize("fields", HARMLESS, ids=str)
async def test_what_changes_nothing_is_accepted(client: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    response = await post(client, **fields)
    assert response.status_code == 200, response.text


PREDICTED_IMAGE = {"type": "content", "content": [{"type": "image_url", "image_url": {}}]}

REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # known, not supported
    ({"store": 0}, "store", "invalid_type"),
    ({"best_of": 2}, "best_of", "invalid_value"),
    ({"logprobs": 3}, "logprobs", "invalid_type"),
    ({"top_logprobs": 3}, "top_logprobs", "invalid_value"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
    ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type", "unsupported_value"),
    ({"tools": [tool("bad name")]}, "tools[0].function.name", "invalid_value"),
    ({"tools": [tool("a"), tool("a")]}, "tools[1].function.name", "invalid_value"),
    ({"tools": [tool("a", parameters=nested(40))]}, "tools[0].function.parameters", "invalid_value"),
    ({"tools": [tool("a", parameters={"enum": [0] * 6000})]}, "tools[0].function.parameters", "invalid_value"),
    ({"tools": [tool(f"t{i}") for i in range(129)]}, "tools", "invalid_value"),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ({"tool_choice": "maybe"}, "tool_choice", "invalid_value"),
    (
        {"tools": [tool("a")], "tool_choice": {"type": "function", "function": {"name": "b"}}},
        "tool_choice.function.name",
        "invalid_value",
    ),
    ({"tool_choice": {"type": "custom"}}, "tool_choice.type", "unsupported_value"),
    ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools", "missing_required_parameter"),
    (
        {"tools": [tool("a")], "tool_choice": allowed("auto", "a", "b")},
        "tool_choice.allowed_tools.tools[1].function.name",
        "invalid_value",
    ),
    ({"tools": [tool("a")], "tool_choice": allowed("auto")}, "tool_choice.allowed_tools.tools", "invalid_value"),
    ({"tools": [tool("a")], "tool_choice": allowed("none", "a")}, "tool_choice.allowed_tools.mode", "invalid_value"),
    ({"continue_final_message": True}, "continue_final_message", "invalid_value"),
    ({"service_tier": "flex", "priority": "high"}, "service_tier", "invalid_value"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
    ({"reasoning_effort": "huge"}, "reasoning_effort", "invalid_value"),
    ({"modalities": ["audio"]}, "modalities", "unsupported_parameter"),
    ({"prediction": {}}, "prediction.content", "missing_required_parameter"),
    ({"prediction": {"type": "text", "content": "x"}}, "prediction.type", "invalid_value"),
    (
        {"prediction": {"type": "content", "content": [{"type": "image_url", "image_url": {}}]}},
        "prediction.content[0].type",
        "unsupported_value",
    ),
    ({"speculation": "on"}, "speculation", "invalid_value"),
    ({"web_search_options": {}}, "web_search_options", "unsupported_parameter"),
    (
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        "stream_options.include_obfuscation",
        "unsupported_parameter",
    ),
    ({"typical_p": 1.1}, "typical_p", "invalid_value"),
    ({"mirostat": 3}, "mirostat", "invalid_value"),
    ({"repeat_last_n": -2}, "repeat_last_n", "invalid_value"),
    ({"dry_base": 0.5}, "dry_base", "invalid_value"),
    ({"dry_sequence_breakers": [""]}, "dry_sequence_breakers[0]", "invalid_value"),
    ({"dry_sequence_breakers": ["x"] * 17}, "dry_sequence_breakers", "invalid_value"),
    ({"ignore_eos": 1}, "ignore_eos", "invalid_type"),
    ({"n": 0}, "n", "invalid_value"),
    ({"n": 65}, "n", "invalid_value"),
    ({"n": True}, "n", "invalid_type"),
    # of other servers and endpoints
    ({"use_beam_search": True}, "use_beam_search", "unsupported_parameter"),
    ({"input": "x"}, "input", "unsupported_parameter"),
    ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
    (message(role="user", content="x", images=["aGk="]), "messages[1].images", "unsupported_parameter"),
    ({"response_format": {"type": "json_object", "schema": {}}}, "response_format.schema", "unsupported_parameter"),
    # wrong
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"temperature": 100.1}, "temperature", "invalid_value"),
    ({"top_p": -0.1}, "top_p", "invalid_value"),
    ({"seed": 1.5}, "seed", "invalid_type"),
    ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    ({"n_predict": 0}, "n_predict", "invalid_value"),
    ({"max_tokens": -2}, "max_tokens", "invalid_value"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "invalid_value"),
    ({"n_predict": 5, "max_completion_tokens": 6}, "max_completion_tokens", "invalid_value"),
    ({"repetition_penalty": 1.1, "repeat_penalty": 1.2}, "repetition_penalty", "invalid_value"),
    ({"min_tokens": -1}, "min_tokens", "invalid_value"),
    ({"stop_token_ids": ["x"]}, "stop_token_ids[0]", "invalid_type"),
    ({"top_k": -2}, "top_k", "invalid_value"),
    ({"skip_special_tokens": "no"}, "skip_special_tokens", "invalid_type"),
    ({"add_generation_prompt": True, "continue_final_message": True}, "continue_final_message", "invalid_value"),
    ({"priority": "urgent"}, "priority", "invalid_value"),
    ({"priority": 1}, "priority", "invalid_type"),
    ({"cache": "forget"}, "cache", "invalid_value"),
    ({"timeout": 0}, "timeout", "invalid_value"),
    ({"timeout": 86401}, "timeout", "invalid_value"),
    ({"timeout": "1s"}, "timeout", "invalid_type"),
    ({"stop": ""}, "stop", "invalid_value"),
    ({"stop": ["a", ""]}, "stop[1]", "invalid_value"),
    ({"stop": list("abcdefghijklmnopq")}, "stop", "invalid_value"),
    ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_type"),
    ({"logit_bias": {"-1": 1}}, "logit_bias", "invalid_value"),
    ({"logit_bias": {"1": 101}}, "logit_bias[...]", "invalid_value"),
    ({"logit_bias": {str(i): 1 for i in range(1025)}}, "logit_bias", "invalid_value"),
    ({"model": 5}, "model", "invalid_type"),
    # messages
    ({"messages": None}, "messages", "invalid_type"),
    ({"messages": "x"}, "messages", "invalid_type"),
    (message(role="robot", content="x"), "messages[1].role", "invalid_value"),
    (message(content="x"), "messages[1].role", "missing_required_parameter"),
    (message(role="user"), "messages[1].content", "missing_required_parameter"),
    (
        message(role="assistant", content=None, tool_calls=[{"type": "function"}]),
        "messages[1].tool_calls[0].id",
        "missing_required_parameter",
    ),
    (message(role="user", content="x", name=5), "messages[1].name", "invalid_type"),
    (message(role="function", name="f", content="x"), "messages[1].role", "unsupported_value"),
    (
        message(role="user", content=[{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {}}]),
        "messages[1].content[1].type",
        "unsupported_value",
    ),
    (message(role="assistant", content="x", refusal=5), "messages[1].refusal", "invalid_type"),
    (message(role="user"), "messages[1].content", "missing_required_parameter"),
    (message(role="assistant", content="x", audio={"id": "a"}), "messages[1].audio", "unsupported_parameter"),
    (message(role="user", content=[{"type": "text", "text": 5}]), "messages[1].content[0].text", "invalid_type"),
]


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED, ids=lambda value: str(value)[:60])
async def test_refusals_name_the_field(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], param: str, code: str
) -> None:
    response = await post(client, **fields)
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert param.split("[")[0].split(".")[-1] in error["message"]
    assert not engine.requests


@pytest.mark.parametrize(
    "content", ["def f():", [{"type": "text", "text": "def "}, {"type": "text", "text": "f():"}]], ids=str
)
async def test_a_prediction_is_text_or_parts_of_it(client: httpx.AsyncClient, engine: FakeEngine, content: Any) -> None:
    response = await post(client, prediction={"type": "content", "content": content}, speculation="off", n=2)
    assert response.status_code == 200, response.text
    assert [(each.prediction, each.speculation) for each in engine.requests] == [("def f():", "off")] * 2


async def test_an_answer_that_was_begun_goes_on(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    begun = [*HELLO["messages"], {"role": "assistant", "content": "It is"}]
    for fields, goes_on in (({}, True), ({"continue_final_message": False}, False)):
        assert (await post(client, messages=begun, **fields)).status_code == 200
        prompt = engine.requests.pop().prompt
        assert isinstance(prompt, ChatPrompt)
        assert (prompt.continue_final_message, prompt.add_generation_prompt) == (goes_on, not goes_on)


@pytest.mark.parametrize(
    ("fields", "opens"),
    [({}, True), ({"add_generation_prompt": True}, True), ({"add_generation_prompt": False}, False)],
)
async def test_the_opening_of_the_answer_may_be_left_out(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], opens: bool
) -> None:
    assert (await post(client, **fields)).status_code == 200
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert (prompt.add_generation_prompt, prompt.continue_final_message) == (opens, False)


async def test_an_explicit_opening_begins_a_new_message(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    begun = [*HELLO["messages"], {"role": "assistant", "content": "It is"}]
    assert (await post(client, messages=begun, add_generation_prompt=True)).status_code == 200
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert (prompt.add_generation_prompt, prompt.continue_final_message) == (True, False)
