"""POST /v1/messages and /v1/messages/count_tokens over a fake engine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import httpx
import pytest
from msgspec import structs

from llmcore.errors import EngineUnavailableError, InvalidRequestError, OverloadedError
from llmcore.messages import CallDelta, ChatPrompt, JsonSchema, Piece, Usage
from llmcore_app.application import create_app, create_service
from llmcore_app.auth.keys import load_keys
from llmcore_app.config import ServerConfig
from tests.app.fake_engine import MODEL, WORDS, FakeEngine
from tests.app.routes.test_responses import CALLING

URL = "/v1/messages"
TEXT = "".join(WORDS)
HELLO: dict[str, Any] = {"model": "fake", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello!"}]}
CLOCK = {"name": "clock", "description": "The time", "input_schema": {"type": "object"}}
CALL = {"type": "tool_use", "id": "toolu_c1", "name": "clock", "input": {"zone": "UTC"}}


def events(text: str) -> list[dict[str, Any]]:
    """Returns the events of a stream, which have their type twice."""
    assert text.endswith("\n\n")
    found = []
    for lines in text.removesuffix("\n\n").split("\n\n"):
        event, data = lines.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert event == f"event: {value['type']}"
        found.append(value)
    return found


async def post(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post(URL, json={**HELLO, **fields})


async def streamed(client: httpx.AsyncClient, **fields: Any) -> list[dict[str, Any]]:
    response = await post(client, stream=True, **fields)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return events(response.text)


async def rendered(client: httpx.AsyncClient, engine: FakeEngine, *messages: dict[str, Any], **fields: Any) -> Any:
    """Returns the messages in the engine's prompt."""
    response = await post(client, messages=list(messages), **fields)
    assert response.status_code == 200, response.text
    return json.loads(prompt_of(engine).messages)


def prompt_of(engine: FakeEngine) -> ChatPrompt:
    prompt = engine.requests[-1].prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt


async def test_whole(client: httpx.AsyncClient) -> None:
    response = await post(client)
    body = response.json()
    assert body["id"].startswith("msg_")
    assert (body["type"], body["role"], body["model"]) == ("message", "assistant", "fake")
    assert body["content"] == [{"type": "text", "text": TEXT, "citations": None}]
    assert (body["stop_reason"], body["stop_sequence"]) == ("end_turn", None)
    usage = body["usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"]) == (4, 3)
    assert usage["output_tokens"] == len(WORDS) + 1
    assert response.headers["request-id"] == response.headers["x-request-id"]


async def test_stream(client: httpx.AsyncClient) -> None:
    found = await streamed(client)
    n_deltas = sum(bool(word) for word in WORDS)
    kinds = ["message_start", "ping", "content_block_start", *["content_block_delta"] * n_deltas]
    assert [each["type"] for each in found] == [*kinds, "content_block_stop", "message_delta", "message_stop"]
    message = found[0]["message"]
    assert (message["content"], message["stop_reason"], message["usage"]["input_tokens"]) == ([], None, 7)
    deltas = [each["delta"] for each in found if each["type"] == "content_block_delta"]
    assert "".join(delta["text"] for delta in deltas) == TEXT
    ending = found[-2]
    assert ending["delta"]["stop_reason"] == "end_turn"
    assert (ending["usage"]["input_tokens"], ending["usage"]["cache_read_input_tokens"]) == (4, 3)


async def test_thinking_and_calls(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    body = (await post(client, tools=[CLOCK])).json()
    assert body["stop_reason"] == "tool_use"
    assert [each["type"] for each in body["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    calls = [each for each in body["content"] if each["type"] == "tool_use"]
    assert calls == [CALL, {"type": "tool_use", "id": "toolu_c2", "name": "off", "input": {}}]
    thinking = [each for each in body["content"] if each["type"] == "thinking"]
    assert thinking[0]["thinking"] == "Let me see."
    found = await streamed(client, tools=[CLOCK])
    starts = [each["content_block"] for each in found if each["type"] == "content_block_start"]
    assert [each["type"] for each in starts] == [each["type"] for each in body["content"]]
    pieces = [each["delta"] for each in found if each["type"] == "content_block_delta"]
    assert [each["partial_json"] for each in pieces if each["type"] == "input_json_delta"] == [
        '{"zone": ',
        '"UTC"}',
        "{}",
    ]
    assert "signature_delta" in [each["type"] for each in pieces]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


async def test_a_result_without_a_call_is_left_to_the_template(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    block = {"type": "tool_result", "tool_use_id": "toolu_t", "content": "x"}
    found = await rendered(client, engine, {"role": "user", "content": [block]})
    assert found == [{"role": "tool", "content": "x", "tool_call_id": "t", "name": ""}]


async def test_thinking_may_be_omitted(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    thinking = {"type": "enabled", "budget_tokens": 1024, "display": "omitted"}
    body = (await post(client, thinking=thinking)).json()
    assert body["content"][0]["thinking"] == ""


@pytest.mark.parametrize(
    ("thinking", "args", "effort"),
    [
        (None, {}, ""),
        ({"type": "adaptive"}, {}, ""),
        ({"type": "disabled"}, {}, "none"),
        ({"type": "enabled", "budget_tokens": 1024}, {"enable_thinking": True}, ""),
    ],
)
async def test_the_switch_of_thinking(
    client: httpx.AsyncClient, engine: FakeEngine, thinking: Any, args: dict[str, Any], effort: str
) -> None:
    await post(client, thinking=thinking)
    prompt = prompt_of(engine)
    assert json.loads(prompt.template_args or b"{}") == args
    assert prompt.reasoning_effort == effort


async def test_a_stop_sequence_is_told(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.stop_string = "END"
    body = (await post(client, stop_sequences=["no", "END"])).json()
    assert (body["stop_reason"], body["stop_sequence"]) == ("stop_sequence", "END")
    assert engine.requests[-1].stop == ("no", "END")
    found = await streamed(client, stop_sequences=["no", "END"])
    assert (found[-2]["delta"]["stop_reason"], found[-2]["delta"]["stop_sequence"]) == ("stop_sequence", "END")
    body = (await post(client, stop_sequences=["no"])).json()
    assert (body["stop_reason"], body["stop_sequence"]) == ("end_turn", None), "a template's stop string is not told"


async def test_the_length_and_the_context(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    body = (await post(client, max_tokens=1)).json()
    assert body["stop_reason"] == "max_tokens"
    engine.reason = "length"
    engine.usages = [Usage(n_prompt=7, n_cached=0, n_generated=5, queue_s=0, prefill_s=0, decode_s=0)]
    assert (await post(client)).json()["stop_reason"] == "model_context_window_exceeded"


async def test_a_call_that_is_cut_off_has_no_input(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: [
        Piece("", "", 1, "", (CallDelta(0, id="c1", name="clock"), CallDelta(0, arguments='{"zone": "U')))
    ]
    engine.reason = "length"
    assert (await post(client, max_tokens=2, tools=[CLOCK])).json()["content"] == [{**CALL, "input": {}}]


async def test_a_conversation_as_messages_of_chat(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    found = await rendered(
        client,
        engine,
        {"role": "user", "content": "What time is it?"},
        {"role": "user", "content": [{"type": "text", "text": "In UTC.", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                {"type": "redacted_thinking", "data": "x"},
                {"type": "text", "text": "Wait."},
                CALL,
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_c1",
                    "content": [{"type": "text", "text": "none"}],
                    "is_error": True,
                },
                {"type": "text", "text": "Well?"},
            ],
        },
        system=[{"type": "text", "text": "Be kind."}],
    )
    call = {"type": "function", "id": "c1", "function": {"name": "clock", "arguments": '{"zone":"UTC"}'}}
    assert found == [
        {"role": "system", "content": "Be kind."},
        {
            "role": "user",
            "content": [{"type": "text", "text": "What time is it?"}, {"type": "text", "text": "In UTC."}],
        },
        {"role": "assistant", "content": "Wait.", "tool_calls": [call], "reasoning_content": "Hm."},
        {"role": "tool", "content": "Error: none", "tool_call_id": "c1", "name": "clock"},
        {"role": "user", "content": "Well?"},
    ]


async def test_the_answer_continues_the_assistants_last_message(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    await rendered(client, engine, HELLO["messages"][0], {"role": "assistant", "content": "Well,"})
    prompt = prompt_of(engine)
    assert (prompt.continue_final_message, prompt.add_generation_prompt) == (True, False)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ("auto", "", True)),
        ({"type": "auto", "disable_parallel_tool_use": True}, ("auto", "", False)),
        ({"type": "any"}, ("required", "", True)),
        ({"type": "none"}, ("none", "", True)),
        ({"type": "tool", "name": "clock"}, ("required", "clock", True)),
    ],
)
async def test_tools_and_their_choice(
    client: httpx.AsyncClient, engine: FakeEngine, choice: Any, expected: tuple[str, str, bool]
) -> None:
    response = await post(client, tools=[{**CLOCK, "type": "custom"}], tool_choice=choice)
    assert response.status_code == 200, response.text
    prompt = prompt_of(engine)
    assert (prompt.tool_choice, prompt.tool_name, prompt.parallel_tool_calls) == expected
    function = {"name": "clock", "description": "The time", "parameters": {"type": "object"}}
    assert json.loads(prompt.tools) == [{"type": "function", "function": function}]


@pytest.mark.parametrize("field", ["output_config", "output_format"])
async def test_a_format(client: httpx.AsyncClient, engine: FakeEngine, field: str) -> None:
    given: dict[str, Any] = {"type": "json_schema", "schema": {"type": "object"}}
    response = await post(client, **{field: {"format": given} if field == "output_config" else given})
    assert response.status_code == 200, response.text
    assert engine.requests[-1].constraint == JsonSchema(b'{"type":"object"}', strict=False)


@pytest.mark.parametrize(("has_efforts", "applied"), [(True, "xhigh"), (False, "")])
async def test_the_effort_is_applied_or_told(
    client: httpx.AsyncClient, engine: FakeEngine, has_efforts: bool, applied: str
) -> None:
    engine.model = structs.replace(MODEL, has_reasoning_efforts=has_efforts)
    response = await post(client, output_config={"effort": "max"})
    assert prompt_of(engine).reasoning_effort == applied
    assert response.headers.get("x-llmcore-ignored") == (None if has_efforts else "output_config.effort")


async def test_what_is_accepted_without_effect(client: httpx.AsyncClient) -> None:
    response = await client.post(
        f"{URL}?beta=true",
        json={
            **HELLO,
            "metadata": {"user_id": "u"},
            "service_tier": "standard_only",
            "cache_control": {"type": "ephemeral"},
            "output_config": {"effort": "high"},
            "context_management": {"edits": []},
            "messages": [{"role": "user", "content": "Hello!", "mood": 1}],
            "mood": 1,
            "temperature": 1,
            "top_p": 0.9,
            "top_k": 40,
        },
        headers={"anthropic-version": "2023-06-01", "anthropic-beta": "x-2025-01-01"},
    )
    assert response.status_code == 200, response.text
    told = {"metadata", "cache_control", "context_management", "mood", "messages[].mood"}
    assert set(response.headers["x-llmcore-ignored"].split(", ")) == told


IMAGE = {"type": "image", "source": {"type": "url", "url": "http://x/"}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}}


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        (user(IMAGE), "messages[0].content[0].type: 'image' is not supported"),
        (user(DOCUMENT), "messages[0].content[0].type: 'document' is not supported"),
        (user(), "messages[0].content"),
        (user({"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]}), "'image' is not supported"),
        (user({"type": "web_search_tool_result", "tool_use_id": "t"}), "'web_search_tool_result' is not supported"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type: 'web_search_20250305'"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema"),
        ({"tools": [CLOCK, CLOCK]}, "tools[1].name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [CLOCK], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"messages": []}, "messages"),
        ({"container": "c"}, "container"),
        ({"n": 2}, "n is not supported"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
    ],
)
async def test_what_is_refused_by_name(client: httpx.AsyncClient, fields: dict[str, Any], named: str) -> None:
    response = await post(client, **fields)
    body = response.json()
    assert (response.status_code, body["type"], body["error"]["type"]) == (400, "error", "invalid_request_error")
    assert named in body["error"]["message"]
    assert body["request_id"] == response.headers["request-id"]


@pytest.mark.parametrize(
    ("refusal", "status", "kind", "message"),
    [
        (InvalidRequestError("stop: is bad", param="stop"), 400, "invalid_request_error", "stop_sequences: is bad"),
        (
            InvalidRequestError("no", param="tools[0].function.parameters.x"),
            400,
            "invalid_request_error",
            "tools[0].input_schema.x: no",
        ),
        (OverloadedError("full"), 529, "overloaded_error", "full"),
        (EngineUnavailableError("it loads"), 503, "overloaded_error", "it loads"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_refusals_of_the_engine(
    client: httpx.AsyncClient,
    engine: FakeEngine,
    refusal: Exception,
    status: int,
    kind: str,
    message: str,
    stream: bool,
) -> None:
    engine.refusals = [refusal]  # type: ignore[list-item]
    response = await post(client, stream=stream)
    assert (response.status_code, response.json()["error"]) == (status, {"type": kind, "message": message})


async def test_an_unknown_model(client: httpx.AsyncClient) -> None:
    response = await post(client, model="claude")
    assert (response.status_code, response.json()["error"]["type"]) == (404, "not_found_error")


async def test_an_error_within_a_stream(client: httpx.AsyncClient) -> None:
    response = await client.post(
        URL,
        json={**HELLO, "stream": True, "messages": [{"role": "user", "content": "die"}]},
        headers={"x-request-id": "r"},
    )
    last = events(response.text)[-1]
    assert (last["type"], last["error"]["type"], last["request_id"]) == ("error", "overloaded_error", "r")


async def test_rate_limits_and_keys(engine: FakeEngine) -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    config = ServerConfig(api_keys=f"a:{digest}", key_requests_per_minute=1)
    app = create_app(create_service(engine, config, "fake", load_keys(config)))
    transport, key = httpx.ASGITransport(app), {"x-api-key": "secret"}
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        answers = [await client.post(URL, json=HELLO, headers=headers) for headers in ({}, key, key)]
    assert [each.status_code for each in answers] == [401, 200, 429]
    assert answers[0].json()["error"]["type"] == "authentication_error"
    assert answers[2].json()["error"]["type"] == "rate_limit_error"
    assert int(answers[2].headers["retry-after"]) > 0


async def test_count_tokens(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    fields = {name: value for name, value in HELLO.items() if name != "max_tokens"}
    response = await client.post(f"{URL}/count_tokens", json=fields)
    text = '[{"role":"user","content":"Hello!"}] True'
    assert response.json() == {"input_tokens": len(text) + 2}
    more = await client.post(f"{URL}/count_tokens", json={**HELLO, "system": "Be kind."})
    assert more.json()["input_tokens"] > response.json()["input_tokens"]
    assert not engine.requests


async def test_an_empty_answer_has_a_text(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: []
    assert (await post(client)).json()["content"] == [{"type": "text", "text": "", "citations": None}]
    assert [each["type"] for each in await streamed(client)][2:4] == ["content_block_start", "content_block_stop"]
