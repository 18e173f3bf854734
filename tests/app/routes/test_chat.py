"""POST /v1/chat/completions over a fake engine."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec
import pytest

from llmcore.messages import CallDelta, ChatPrompt, Piece, Usage
from llmcore.sampling import SamplingParams
from llmcore_app.answers.usage import total_usage
from llmcore_app.schemas.chat_request import ChatRequest
from llmcore_app.schemas.sampling_fields import SamplingFields
from tests.app.fake_engine import WORDS, FakeEngine

URL = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello!"}]}
TEXT = "".join(WORDS)


def events(text: str) -> list[Any]:
    """The events of a stream; the framing is part of the test."""
    assert text.endswith("\n\n")
    lines = text.removesuffix("\n\n").split("\n\n")
    assert all(line.startswith("data: ") and "\n" not in line for line in lines)
    return [json.loads(data) if data != "[DONE]" else data for data in (line.removeprefix("data: ") for line in lines)]


async def post(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post(URL, json={**HELLO, **fields})


async def test_whole(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await post(client)
    assert response.status_code == 200
    answer = response.json()
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "fake"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT, "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    assert answer["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": len(WORDS) + 1,
        "total_tokens": 7 + len(WORDS) + 1,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 0},
        "timings": {
            "queue_s": 0.001,
            "prefill_s": 0.002,
            "ttft_s": 0.003,
            "decode_s": 0.003,
            "tokens_per_s": len(WORDS) / 0.003,
            "restored_tokens": 2,
        },
    }
    assert not engine.open
    assert not engine.cancelled


async def test_stream(client: httpx.AsyncClient) -> None:
    response = await post(client, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(response.text)
    assert done == "[DONE]"
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(chunk["object"] == "chat.completion.chunk" and "usage" not in chunk for chunk in chunks)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert [choice["delta"]["content"] for choice in choices[1:-1]] == [word for word in WORDS if word]
    assert choices[-1]["delta"] == {}
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]


async def test_stream_with_usage(client: httpx.AsyncClient) -> None:
    response = await post(client, stream=True, stream_options={"include_usage": True})
    *chunks, last, done = events(response.text)
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == len(WORDS) + 1
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_text_that_was_held_back_comes_with_the_end(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.held_back = " STO"
    engine.reason = "length"
    *_, text, end, _ = events((await post(client, stream=True)).text)
    assert text["choices"][0]["delta"]["content"] == " STO"
    assert end["choices"][0]["finish_reason"] == "length"
    whole = (await post(client)).json()["choices"][0]
    assert whole["message"]["content"] == TEXT + " STO"
    assert whole["finish_reason"] == "length"


async def test_messages_reach_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": parts, "name": None},
        {"role": "assistant", "content": "A", "refusal": None, "tool_calls": [], "annotations": []},
        {"role": "user", "content": "B"},
    ]
    response = await post(client, messages=messages)
    assert response.status_code == 200
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert msgspec.json.decode(prompt.messages) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "B"},
    ]


async def test_parameters_reach_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    values: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "seed": 2**32 - 1,
    }
    ours = {"priority": "high", "timeout": 2.5, "cache": "discard"}
    response = await post(
        client,
        **values,
        **ours,
        logit_bias={"5": -100},
        stop=["a", "b"],
        max_completion_tokens=9,
        max_tokens=9,
        model="fake",
    )
    assert response.status_code == 200, response.text
    request = engine.requests[0]
    assert {name: getattr(request.sampling, name) for name in values} == values
    assert request.sampling.logit_bias == {5: -100.0}
    assert request.stop == ("a", "b")
    assert request.max_tokens == 9
    assert (request.priority, request.timeout_s, request.keeps_prefix) == ("high", 2.5, False)


async def test_several_answers_to_one_prompt(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = (await post(client, n=3, seed=2**32 - 2)).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in answer["choices"]] == [TEXT] * 3
    assert [request.sampling.seed for request in engine.requests] == [2**32 - 2, 2**32 - 1, 0]
    assert len({request.request_id for request in engine.requests}) == 3
    assert answer["usage"]["prompt_tokens"] == 7
    assert answer["usage"]["completion_tokens"] == 3 * (len(WORDS) + 1)
    without_seed = await post(client, n=2)
    assert without_seed.status_code == 200
    assert [request.sampling.seed for request in engine.requests[3:]] == [None, None]


async def test_several_answers_streamed(client: httpx.AsyncClient) -> None:
    response = await post(client, n=2, stream=True, stream_options={"include_usage": True})
    *chunks, usage, done = events(response.text)
    assert done == "[DONE]"
    for index in (0, 1):
        mine = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert mine[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(choice["delta"].get("content", "") for choice in mine) == TEXT
        assert [choice["finish_reason"] for choice in mine if choice["finish_reason"]] == ["stop"]
    assert usage["usage"]["prompt_tokens"] == 7


def test_a_prompt_of_several_answers_counts_once() -> None:
    usages = [
        Usage(n_prompt=10, n_cached=cached, n_generated=5, queue_s=0, prefill_s=1, decode_s=1)
        for cached in (9, 2, 9, 0)
    ]
    usage = total_usage(usages, 2)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (20, 20, 40)
    assert usage.prompt_tokens_details.cached_tokens == 2


async def test_more_sampling_reaches_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    values: dict[str, Any] = {
        "typical_p": 0.9,
        "top_n_sigma": 1.5,
        "xtc_probability": 0.5,
        "xtc_threshold": 0.2,
        "repeat_last_n": -1,
        "dry_multiplier": 0.8,
        "dry_base": 2.0,
        "dry_allowed_length": 3,
        "dry_penalty_last_n": 100,
        "dynatemp_range": 0.5,
        "dynatemp_exponent": 2.0,
        "mirostat": 2,
        "mirostat_tau": 4.0,
        "mirostat_eta": 0.2,
    }
    response = await post(client, **values, dry_sequence_breakers=["a", "b"], ignore_eos=True)
    assert response.status_code == 200, response.text
    request = engine.requests[0]
    assert {name: getattr(request.sampling, name) for name in values} == values
    assert request.sampling.dry_sequence_breakers == ("a", "b")
    assert request.ignore_eos


@pytest.mark.parametrize("field", msgspec.inspect.type_info(SamplingFields).fields, ids=lambda field: field.name)  # type: ignore[attr-defined]
def test_what_a_field_allows_the_engine_takes(field: msgspec.inspect.Field) -> None:
    assert isinstance(field.type, msgspec.inspect.UnionType)
    kind = next(each for each in field.type.types if not isinstance(each, msgspec.inspect.NoneType))
    kind = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
    for name in ("ge", "le"):
        bound = getattr(kind, name, None)
        if bound is not None:
            assert getattr(SamplingParams(**{field.name: bound}), field.name) == bound


async def test_null_means_absent(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    absent = sorted(set(ChatRequest.__struct_fields__) - {"messages"})
    response = await post(client, **dict.fromkeys(absent))
    assert response.status_code == 200, response.text
    assert engine.requests[0].sampling.temperature == 1.0
    assert engine.requests[0].max_tokens is None
    assert (engine.requests[0].priority, engine.requests[0].timeout_s) == ("normal", None)


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


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
]


@pytest.mark.parametrize("fields", HARMLESS, ids=str)
async def test_what_changes_nothing_is_accepted(client: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    response = await post(client, **fields)
    assert response.status_code == 200, response.text


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "x"}, fields]}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # known, not supported
    ({"store": True}, "store", "unsupported_parameter"),
    ({"store": 0}, "store", "unsupported_parameter"),
    ({"logprobs": 3}, "logprobs", "invalid_type"),
    ({"top_logprobs": 3}, "top_logprobs", "invalid_value"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
    ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type", "unsupported_value"),
    ({"tools": [tool("bad name")]}, "tools[0].function.name", "invalid_value"),
    ({"tools": [tool("a"), tool("a")]}, "tools[1].function.name", "invalid_value"),
    ({"tools": [tool("a", parameters=nested(40))]}, "tools[0].function.parameters", "invalid_value"),
    ({"tools": [tool("a", parameters={"enum": [0] * 6000})]}, "tools[0].function.parameters", "invalid_value"),
    ({"tools": [tool("a", strictly=True)]}, "tools[0].function.strictly", "unknown_parameter"),
    ({"tools": [tool(f"t{i}") for i in range(129)]}, "tools", "invalid_value"),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ({"tool_choice": "maybe"}, "tool_choice", "invalid_value"),
    (
        {"tools": [tool("a")], "tool_choice": {"type": "function", "function": {"name": "b"}}},
        "tool_choice.function.name",
        "invalid_value",
    ),
    ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type", "unsupported_value"),
    ({"continue_final_message": True}, "continue_final_message", "invalid_value"),
    ({"service_tier": "flex", "priority": "high"}, "service_tier", "invalid_value"),
    ({"service_tier": "gold"}, "service_tier", "invalid_value"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
    ({"reasoning_effort": "huge"}, "reasoning_effort", "invalid_value"),
    ({"modalities": ["audio"]}, "modalities", "unsupported_parameter"),
    ({"prediction": {}}, "prediction.content", "missing_required_parameter"),
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
    # unknown
    ({"temprature": 1}, "temprature", "unknown_parameter"),
    ({"stream": True, "stream_options": {"x": 1}}, "stream_options.x", "unknown_parameter"),
    (message(role="user", content="x", mood="y"), "messages[1].mood", "unknown_parameter"),
    # wrong
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"temperature": 2.1}, "temperature", "invalid_value"),
    ({"top_p": -0.1}, "top_p", "invalid_value"),
    ({"seed": -1}, "seed", "invalid_value"),
    ({"seed": 2**32}, "seed", "invalid_value"),
    ({"seed": 2**80}, "seed", "invalid_value"),
    ({"seed": 1.5}, "seed", "invalid_type"),
    ({"max_tokens": 0}, "max_tokens", "invalid_value"),
    ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "invalid_value"),
    ({"priority": "urgent"}, "priority", "invalid_value"),
    ({"priority": 1}, "priority", "invalid_type"),
    ({"cache": "forget"}, "cache", "invalid_value"),
    ({"timeout": 0}, "timeout", "invalid_value"),
    ({"timeout": 86401}, "timeout", "invalid_value"),
    ({"timeout": "1s"}, "timeout", "invalid_type"),
    ({"stop": ""}, "stop", "invalid_value"),
    ({"stop": ["a", ""]}, "stop[1]", "invalid_value"),
    ({"stop": list("abcde")}, "stop", "invalid_value"),
    ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_type"),
    ({"logit_bias": {"-1": 1}}, "logit_bias", "invalid_value"),
    ({"logit_bias": {"1": 101}}, "logit_bias[...]", "invalid_value"),
    ({"logit_bias": {str(i): 1 for i in range(1025)}}, "logit_bias", "invalid_value"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    ({"model": 5}, "model", "invalid_type"),
    # messages
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": None}, "messages", "invalid_type"),
    ({"messages": "x"}, "messages", "invalid_type"),
    (message(role="robot", content="x"), "messages[1].role", "invalid_value"),
    (message(content="x"), "messages[1].role", "missing_required_parameter"),
    (message(role="user"), "messages[1].content", "missing_required_parameter"),
    (message(role="user", content=None), "messages[1].content", "invalid_type"),
    (message(role="user", content=[]), "messages[1].content", "invalid_value"),
    (message(role="assistant"), "messages[1].content", "missing_required_parameter"),
    (
        message(role="assistant", content=None, tool_calls=[{"type": "function"}]),
        "messages[1].tool_calls[0].id",
        "missing_required_parameter",
    ),
    (message(role="assistant", content=None, tool_calls=[]), "messages[1].content", "missing_required_parameter"),
    (message(role="user", content="x", name="Ada"), "messages[1].name", "unsupported_parameter"),
    (message(role="tool", content="x", tool_call_id="1"), "messages[1].tool_call_id", "invalid_value"),
    (message(role="tool", content="x"), "messages[1].tool_call_id", "missing_required_parameter"),
    (message(role="function", name="f", content="x"), "messages[1].role", "unsupported_value"),
    (
        message(role="user", content=[{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {}}]),
        "messages[1].content[1].type",
        "unsupported_value",
    ),
    (
        message(role="user", content=[{"type": "text", "text": "x", "cache_control": {}}]),
        "messages[1].content[0].cache_control",
        "unknown_parameter",
    ),
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


async def test_images_are_refused_in_words(client: httpx.AsyncClient) -> None:
    response = await post(client, **message(role="user", content=[{"type": "image_url", "image_url": {"url": "x"}}]))
    assert "images are not supported" in response.json()["error"]["message"]


async def test_unknown_model(client: httpx.AsyncClient) -> None:
    response = await post(client, model="gpt-4o")
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "'fake'" in error["message"]


CALL = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}


async def test_tools_reach_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    tools = [tool("clock", description="The time", parameters={"type": "object"}, strict=True), tool("off")]
    messages = [
        *HELLO["messages"],
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "c1", "content": "9"},
    ]
    more = {"parallel_tool_calls": False, "chat_template_kwargs": {"a": 1}, "reasoning_effort": "none"}
    response = await post(client, messages=messages, tools=tools, tool_choice="required", **more)
    assert response.status_code == 200, response.text
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert msgspec.json.decode(prompt.tools) == tools
    assert msgspec.json.decode(prompt.messages)[1:] == [
        {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning_content": "Hm."},
        {"role": "tool", "tool_call_id": "c1", "content": "9", "name": "clock"},
    ]
    assert (prompt.tool_choice, prompt.tool_name, prompt.parallel_tool_calls) == ("required", "", False)
    assert (msgspec.json.decode(prompt.template_args), prompt.reasoning_effort) == ({"a": 1}, "none")
    named = {"type": "function", "function": {"name": "off"}}
    assert (await post(client, tools=tools, tool_choice=named)).status_code == 200
    prompt = engine.requests[1].prompt
    assert isinstance(prompt, ChatPrompt)
    assert (prompt.tool_choice, prompt.tool_name) == ("required", "off")


async def test_an_answer_that_was_begun_goes_on(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    begun = [*HELLO["messages"], {"role": "assistant", "content": "It is"}]
    for fields, goes_on in (({}, True), ({"continue_final_message": False}, False)):
        assert (await post(client, messages=begun, **fields)).status_code == 200
        prompt = engine.requests.pop().prompt
        assert isinstance(prompt, ChatPrompt)
        assert (prompt.continue_final_message, prompt.add_generation_prompt) == (goes_on, not goes_on)


@pytest.mark.parametrize(("tier", "priority"), [("flex", "low"), ("priority", "high"), ("auto", "normal")])
async def test_a_service_tier_is_a_priority(
    client: httpx.AsyncClient, engine: FakeEngine, tier: str, priority: str
) -> None:
    assert (await post(client, service_tier=tier)).status_code == 200
    assert engine.requests[0].priority == priority


CALLING = [
    Piece("", "", 1, "Let me ", ()),
    Piece("", "Wait. ", 1, "see.", ()),
    Piece("", "", 1, "", (CallDelta(0, id="c1", name="clock"), CallDelta(0, arguments='{"zone": '))),
    Piece("", "", 1, "", (CallDelta(0, arguments='"UTC"}'), CallDelta(1, id="c2", name="off"))),
    Piece("", "", 1, "", (CallDelta(1, arguments="{}"),)),
]


async def test_tool_calls_and_reasoning_whole(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    choice = (await post(client, tools=[tool("clock"), tool("off")])).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "Wait. ",
        "refusal": None,
        "reasoning_content": "Let me see.",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": '{"zone": "UTC"}'}},
            {"id": "c2", "type": "function", "function": {"name": "off", "arguments": "{}"}},
        ],
    }
    engine.script = lambda request: CALLING[2:]
    assert (await post(client)).json()["choices"][0]["message"]["content"] is None


async def test_tool_calls_and_reasoning_streamed(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    *chunks, done = events((await post(client, tools=[tool("clock"), tool("off")], stream=True)).text)
    assert done == "[DONE]"
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Let me "},
        {"reasoning_content": "see."},
        {"content": "Wait. "},
        {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "clock", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"zone": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"UTC"}'}}]},
        {"tool_calls": [{"index": 1, "id": "c2", "type": "function", "function": {"name": "off", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
