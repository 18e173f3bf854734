"""POST /v1/responses over a fake engine."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.errors import ContextLengthError, InvalidRequestError
from llmcore.messages import CallDelta, ChatPrompt, Piece
from llmcore_app.responses_output import GrowingMessage
from llmcore_app.responses_schema import ResponsesRequest
from llmcore_app.responses_stream import DeltaEvents, response_event
from llmcore_app.service import Service
from tests.app.fake_engine import WORDS, FakeEngine
from tests.app.test_sse import Caller, waiting

URL = "/v1/responses"
TEXT = "".join(WORDS)
CLOCK = {"type": "function", "name": "clock", "description": "The time", "parameters": {"type": "object"}}
OFF = {"type": "function", "name": "off"}
CALL = {"type": "function_call", "call_id": "c1", "name": "clock", "arguments": "{}"}
RESULT = {"type": "function_call_output", "call_id": "c1", "output": "9"}
CALLING = [
    Piece("", "", 1, "Let me ", ()),
    Piece("", "Wait. ", 1, "see.", ()),
    Piece("", "", 1, "", (CallDelta(0, id="c1", name="clock"), CallDelta(0, arguments='{"zone": '))),
    Piece("", "", 1, "", (CallDelta(0, arguments='"UTC"}'), CallDelta(1, id="c2", name="off"))),
    Piece("", "", 1, "", (CallDelta(1, arguments="{}"),)),
]


def events(text: str) -> list[dict[str, Any]]:
    """The events of a stream, which are numbered, and tell their type twice."""
    assert text.endswith("\n\n")
    found = []
    for number, lines in enumerate(text.removesuffix("\n\n").split("\n\n")):
        event, data = lines.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert event == f"event: {value['type']}"
        assert value.pop("sequence_number") == number
        found.append(value)
    return found


async def post(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post(URL, json={"input": "Hello!", **fields})


async def streamed(client: httpx.AsyncClient, **fields: Any) -> list[dict[str, Any]]:
    response = await post(client, stream=True, **fields)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return events(response.text)


async def rendered(client: httpx.AsyncClient, engine: FakeEngine, **fields: Any) -> Any:
    """The messages that the engine is told."""
    response = await post(client, **fields)
    assert response.status_code == 200, response.text
    return msgspec.json.decode(prompt_of(engine).messages)


def prompt_of(engine: FakeEngine) -> ChatPrompt:
    prompt = engine.requests[-1].prompt
    assert isinstance(prompt, ChatPrompt)
    return prompt


def without_ids(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    assert len({item["id"] for item in items}) == len(items)
    return [{name: value for name, value in item.items() if name != "id"} for item in items]


def without_times(response: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in response.items() if name not in ("id", "created_at", "completed_at")}


async def test_whole(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = (await post(client)).json()
    assert answer.pop("id").startswith("resp_")
    assert answer.pop("completed_at") >= answer.pop("created_at") > 0
    assert answer["output"][0].pop("id").startswith("msg_")
    assert answer.pop("usage").pop("timings")["ttft_s"] == 0.003
    assert answer == {
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "model": "fake",
        "output": [
            {
                "type": "message",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}],
            }
        ],
        "instructions": None,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "temperature": 1.0,
        "top_p": 1.0,
        "text": {"format": {"type": "text"}},
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "metadata": {},
        "prompt_cache_key": None,
        "safety_identifier": None,
        "user": None,
        "top_logprobs": 0,
        "truncation": "disabled",
        "background": False,
        "store": False,
        "previous_response_id": None,
    }
    assert not engine.open
    assert not engine.cancelled


async def test_usage(client: httpx.AsyncClient) -> None:
    usage = (await post(client)).json()["usage"]
    del usage["timings"]
    assert usage == {
        "input_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": len(WORDS) + 1,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 7 + len(WORDS) + 1,
    }


async def test_what_was_asked_is_told_again(client: httpx.AsyncClient) -> None:
    asked = {
        "instructions": "Be kind.",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 100,
        "max_tool_calls": 3,
        "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "name": "clock"},
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "flex",
    }
    answer = (await post(client, tools=[CLOCK, OFF], reasoning={"effort": "none"}, **asked)).json()
    assert {name: answer[name] for name in asked} == asked
    assert answer["reasoning"] == {"effort": "none", "summary": None}
    assert answer["tools"] == [
        {**CLOCK, "strict": None},
        {**OFF, "description": None, "parameters": None, "strict": None},
    ]


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


async def test_items_are_messages(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    items = [
        {"role": "developer", "content": "Dev."},
        {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Sys."}]},
        {"role": "user", "content": "A", "type": "message", "id": "msg_1", "status": "completed"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "B", "annotations": [], "logprobs": []}]},
        {"role": "user", "content": [{"type": "input_text", "text": "C"}, {"type": "input_text", "text": "D"}]},
    ]
    assert await rendered(client, engine, input=items, instructions="Be kind.") == [
        {"role": "system", "content": "Be kind."},
        {"role": "system", "content": "Dev."},
        {"role": "system", "content": [{"type": "text", "text": "Sys."}]},
        {"role": "user", "content": "A"},
        {"role": "assistant", "content": [{"type": "text", "text": "B"}]},
        {"role": "user", "content": [{"type": "text", "text": "C"}, {"type": "text", "text": "D"}]},
    ]


async def test_a_turn_is_one_message(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    said = {"role": "assistant", "content": "Wait."}
    second = {**CALL, "call_id": "c2", "id": "fc_2", "status": "completed"}
    user = {"role": "user", "content": "x"}
    results = [RESULT, {**RESULT, "call_id": "c2", "output": [{"type": "input_text", "text": "off"}]}]
    items = [user, thought, said, CALL, second, *results, thought, {**said, "content": "Nine."}, said]
    calls = [{"id": id, "type": "function", "function": {"name": "clock", "arguments": "{}"}} for id in ("c1", "c2")]
    assert await rendered(client, engine, input=items) == [
        user,
        {"role": "assistant", "content": "Wait.", "tool_calls": calls, "reasoning_content": "Hm."},
        {"role": "tool", "content": "9", "tool_call_id": "c1", "name": "clock"},
        {"role": "tool", "content": [{"type": "text", "text": "off"}], "tool_call_id": "c2", "name": "clock"},
        {"role": "assistant", "content": "Nine.", "reasoning_content": "Hm."},
        {"role": "assistant", "content": "Wait."},
    ]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"summary": []}, None),
        ({"summary": [{"type": "summary_text", "text": "S"}]}, "S"),
        (
            {"summary": [{"type": "summary_text", "text": "S"}], "content": [{"type": "reasoning_text", "text": "C"}]},
            "C",
        ),
    ],
    ids=str,
)
async def test_reasoning_that_comes_back(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], text: str | None
) -> None:
    user = {"role": "user", "content": "x"}
    items = [user, {"type": "reasoning", "encrypted_content": None, **fields}, user]
    expected = [] if text is None else [{"role": "assistant", "content": "", "reasoning_content": text}]
    assert await rendered(client, engine, input=items) == [user, *expected, user]


async def test_an_answer_can_be_sent_back(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    output = (await post(client, tools=[CLOCK, OFF])).json()["output"]
    results = [{**RESULT, "call_id": item["call_id"]} for item in output if item["type"] == "function_call"]
    messages = await rendered(client, engine, input=[{"role": "user", "content": "x"}, *output, *results])
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool"]
    assert messages[1]["reasoning_content"] == "Let me see."


async def test_stream(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    created, progress, *grown, completed = await streamed(client)
    assert created["type"] == "response.created"
    assert progress == {**created, "type": "response.in_progress"}
    assert (created["response"]["status"], created["response"]["output"]) == ("in_progress", [])
    id = grown[0]["item"]["id"]
    place = {"item_id": id, "output_index": 0, "content_index": 0}
    item = {"type": "message", "id": id, "role": "assistant"}
    part = {"type": "output_text", "annotations": [], "logprobs": []}
    done = {**item, "status": "completed", "content": [{**part, "text": TEXT}]}
    added = {**item, "status": "in_progress", "content": []}
    assert grown == [
        {"type": "response.output_item.added", "output_index": 0, "item": added},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in WORDS if word),
        {"type": "response.output_text.done", **place, "text": TEXT, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": {**part, "text": TEXT}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]
    assert completed["type"] == "response.completed"
    response = completed["response"]
    assert response["output"] == [done]
    assert {**without_times(response), "output": None, "usage": None, "status": "in_progress"} == {
        **without_times(created["response"]),
        "output": None,
    }
    whole = (await post(client)).json()
    assert without_ids(whole.pop("output")) == without_ids(response.pop("output"))
    assert without_times(whole) == without_times(response)


async def test_tool_calls_and_reasoning_streamed(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    found = await streamed(client, tools=[CLOCK, OFF])
    short = [(event["type"].removeprefix("response."), event.get("output_index")) for event in found]
    assert short == [
        ("created", None),
        ("in_progress", None),
        ("output_item.added", 0),
        ("content_part.added", 0),
        ("reasoning_text.delta", 0),
        ("reasoning_text.delta", 0),
        ("reasoning_text.done", 0),
        ("content_part.done", 0),
        ("output_item.done", 0),
        ("output_item.added", 1),
        ("content_part.added", 1),
        ("output_text.delta", 1),
        ("output_text.done", 1),
        ("content_part.done", 1),
        ("output_item.done", 1),
        ("output_item.added", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.delta", 2),
        ("function_call_arguments.done", 2),
        ("output_item.done", 2),
        ("output_item.added", 3),
        ("function_call_arguments.delta", 3),
        ("function_call_arguments.done", 3),
        ("output_item.done", 3),
        ("completed", None),
    ]
    thought = {"type": "reasoning_text", "text": "Let me see."}
    assert found[6]["text"] == thought["text"]
    assert found[7]["part"] == thought
    assert (found[15]["item"]["arguments"], found[15]["item"]["status"]) == ("", "in_progress")
    assert found[18] == {
        "type": "response.function_call_arguments.done",
        "item_id": found[19]["item"]["id"],
        "output_index": 2,
        "name": "clock",
        "arguments": '{"zone": "UTC"}',
    }
    output = found[-1]["response"]["output"]
    assert output == [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert [item["id"][:3] for item in output] == ["rs_", "msg", "fc_", "fc_"]
    assert without_ids(output) == [
        {
            "type": "reasoning",
            "status": "completed",
            "summary": [],
            "content": [thought],
            "encrypted_content": None,
        },
        {
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Wait. ", "annotations": [], "logprobs": []}],
        },
        {
            "type": "function_call",
            "status": "completed",
            "call_id": "c1",
            "name": "clock",
            "arguments": '{"zone": "UTC"}',
        },
        {"type": "function_call", "status": "completed", "call_id": "c2", "name": "off", "arguments": "{}"},
    ]
    assert without_ids((await post(client)).json()["output"]) == without_ids(output)


async def test_what_is_said_after_a_call_is_a_message_of_its_own(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: [*CALLING[:3], Piece("", "So.", 1, "", (CallDelta(0, arguments="1}"),))]
    output = (await streamed(client, tools=[CLOCK]))[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "message"]
    assert output[2]["arguments"] == '{"zone": 1}'
    assert output[3]["content"][0]["text"] == "So."


@pytest.mark.parametrize(
    ("script", "reason", "output"),
    [
        ([], "stop", [("message", "completed")]),
        ([], "length", [("message", "incomplete")]),
        (CALLING[:1], "stop", [("reasoning", "completed"), ("message", "completed")]),
        (CALLING[:1], "length", [("reasoning", "incomplete")]),
        (
            CALLING[:3],
            "length",
            [("reasoning", "completed"), ("message", "completed"), ("function_call", "incomplete")],
        ),
    ],
    ids=str,
)
async def test_ends(client: httpx.AsyncClient, engine: FakeEngine, script: Any, reason: Any, output: Any) -> None:
    engine.script = lambda request: script
    engine.reason = reason
    status = "completed" if reason == "stop" else "incomplete"
    *_, item_done, last = await streamed(client)
    assert last["type"] == f"response.{status}"
    assert item_done["item"] == last["response"]["output"][-1]
    for response in (last["response"], (await post(client)).json()):
        assert response["status"] == status
        assert response["incomplete_details"] == (None if reason == "stop" else {"reason": "max_output_tokens"})
        assert [(item["type"], item["status"]) for item in response["output"]] == output
        assert (response["completed_at"] is None) == (reason == "length")


@given(st.text(), st.integers(0, 10**6))
def test_any_text_is_one_event(text: str, number: int) -> None:
    item = GrowingMessage("x", 1)
    data = DeltaEvents(item).event(text, number)
    event = item.delta(text)
    event.sequence_number = number
    assert data == response_event(event)
    assert data.count(b"\n") == 3
    assert b"\r" not in data


async def test_null_means_absent(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await post(client, **dict.fromkeys(sorted(set(ResponsesRequest.__struct_fields__) - {"input"})))
    assert response.status_code == 200, response.text
    assert engine.requests[0].sampling.temperature == 1.0
    assert engine.requests[0].max_tokens is None
    assert response.json()["temperature"] == 1.0


async def test_null_means_absent_in_items(client: httpx.AsyncClient) -> None:
    nulls = dict.fromkeys(("id", "status", "phase"))
    parts = [{"type": "output_text", "text": "x", "annotations": None, "logprobs": None, "parsed": None}]
    call = {**CALL, **dict.fromkeys(("id", "status", "namespace", "caller", "async", "async_", "parsed_arguments"))}
    items = [
        {"role": "user", "content": "x", "type": None, **nulls},
        {"type": "reasoning", "content": None, "summary": None, "encrypted_content": None, "id": None, "status": None},
        {"role": "assistant", "content": parts, **nulls},
        call,
        {**RESULT, "id": None, "status": None, "caller": None},
    ]
    response = await post(client, input=items, text={"format": None, "verbosity": None})
    assert response.status_code == 200, response.text


HARMLESS: list[dict[str, Any]] = [
    {"store": False, "background": False, "truncation": "disabled", "top_logprobs": 0, "context_management": []},
    {"include": ["reasoning.encrypted_content", "file_search_call.results"]},
    {"text": {"format": {"type": "text"}, "verbosity": "medium"}},
    {"reasoning": {"summary": "auto", "generate_summary": None}},
    {"tools": [], "tool_choice": "none"},
    {"service_tier": "auto"},
    {"stream": True, "stream_options": {"include_obfuscation": False}},
]


@pytest.mark.parametrize("fields", HARMLESS, ids=str)
async def test_what_changes_nothing_is_accepted(client: httpx.AsyncClient, fields: dict[str, Any]) -> None:
    response = await post(client, **fields)
    assert response.status_code == 200, response.text


def item(**fields: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": "x"}, fields]}


def part(**fields: Any) -> dict[str, Any]:
    return item(role="user", content=[fields])


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    # known, not supported
    ({"store": True}, "store", "unsupported_parameter"),
    ({"store": 0}, "store", "unsupported_parameter"),
    ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
    ({"conversation": {"id": "conv_1"}}, "conversation", "unsupported_parameter"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_parameter"),
    ({"background": True}, "background", "unsupported_parameter"),
    ({"truncation": "auto"}, "truncation", "unsupported_parameter"),
    ({"top_logprobs": 5}, "top_logprobs", "unsupported_parameter"),
    ({"context_management": [{"type": "compaction"}]}, "context_management", "unsupported_parameter"),
    ({"include": ["message.output_text.logprobs"]}, "include[0]", "invalid_value"),
    ({"text": {"verbosity": "low"}}, "text.verbosity", "unsupported_parameter"),
    ({"reasoning": {"summary": "detailed"}}, "reasoning.summary", "unsupported_parameter"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
    ({"service_tier": "flex", "priority": "high"}, "service_tier", "invalid_value"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_value"),
    ({"tools": [{**CLOCK, "async": True}]}, "tools[0].async", "unsupported_parameter"),
    ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
    ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "tools[0].function", "unknown_parameter"),
    ({"tools": [CLOCK, CLOCK]}, "tools[1].name", "invalid_value"),
    ({"tools": [{**CLOCK, "parameters": {"enum": [0] * 6000}}]}, "tools[0].parameters", "invalid_value"),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ({"tools": [CLOCK], "tool_choice": {"type": "function", "name": "b"}}, "tool_choice.name", "invalid_value"),
    ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type", "unsupported_value"),
    # unknown
    ({"messages": []}, "messages", "unknown_parameter"),
    ({"max_tokens": 5}, "max_tokens", "unknown_parameter"),
    ({"n": 2}, "n", "unknown_parameter"),
    ({"stream": True, "stream_options": {"include_usage": True}}, "stream_options.include_usage", "unknown_parameter"),
    ({"reasoning": {"budget": 5}}, "reasoning.budget", "unknown_parameter"),
    ({"text": {"format": {"type": "text", "x": 1}}}, "text.format.x", "unknown_parameter"),
    (item(role="user", content="x", name="Ada"), "input[1].name", "unknown_parameter"),
    # wrong
    ({"stream_options": {}}, "stream_options", "invalid_value"),
    ({"temperature": 2.1}, "temperature", "invalid_value"),
    ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
    ({"metadata": {"a": 1}}, "metadata[...]", "invalid_type"),
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
    (part(type="input_text", text="x", prompt_cache_breakpoint={}), "input[1].content[0].prompt_cache_breakpoint", ""),
    (part(type="output_text", text="x", annotations=[{}]), "input[1].content[0].annotations", ""),
    (item(**{**CALL, "async": True}), "input[1].async", "unsupported_parameter"),
    (item(type="function_call", call_id="c", name="x"), "input[1].arguments", "missing_required_parameter"),
    (item(**RESULT), "input[1].call_id", "invalid_value"),
    (item(**RESULT, mood="y"), "input[1].mood", "unknown_parameter"),
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


@pytest.mark.parametrize("kind", ["json_object", "json_schema"])
async def test_text_formats_are_refused_by_name(client: httpx.AsyncClient, kind: str) -> None:
    schema = {"name": "x", "schema": {}, "strict": True} if kind == "json_schema" else {}
    error = (await post(client, text={"format": {"type": kind, **schema}})).json()["error"]
    assert (error["param"], error["code"]) == ("text.format", "unsupported_parameter")


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


async def test_an_error_after_the_beginning(client: httpx.AsyncClient, engine: FakeEngine, service: Service) -> None:
    *_, delta, failed, error = await streamed(client, input="die")
    assert delta["type"] == "response.output_text.delta"
    assert failed["type"] == "response.failed"
    response = failed["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert [(each["status"], each["content"][0]["text"]) for each in response["output"]] == [("incomplete", "I am ")]
    assert (error["type"], error["code"], error["param"]) == ("error", "engine_died", None)
    assert error["error"]["code"] == "engine_died"
    assert error["message"] == error["error"]["message"] == response["error"]["message"]
    assert b'endpoint="/v1/responses",model="fake",status="503"' in service.metrics.render()
    assert (await post(client, input="die")).status_code == 503


async def test_a_crash_tells_no_secret(client: httpx.AsyncClient) -> None:
    *_, failed, error = await streamed(client, input="crash")
    assert error["code"] == "internal_error"
    assert "secret" not in json.dumps([failed, error])


@pytest.mark.parametrize("stream", [True, False])
async def test_hanging_up_cancels(service: Service, engine: FakeEngine, stream: bool) -> None:
    engine.script = waiting
    caller = Caller(service, stream=stream, path=URL, body={"input": "x", "stream": stream})
    task = asyncio.create_task(caller.call())
    while not engine.open:
        await asyncio.sleep(0)
    caller.left.set()
    await task
    assert len(engine.cancelled) == 1
    assert not engine.open
    assert service.n_active == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_cancelling_by_the_response_s_id(client: httpx.AsyncClient, engine: FakeEngine, stream: bool) -> None:
    engine.script = waiting
    task = asyncio.create_task(post(client, stream=stream))
    while not engine.open:
        await asyncio.sleep(0)
    (id,) = engine.open
    assert id.startswith("resp_")
    assert (await client.delete(f"/v1/requests/{id}")).json()["cancelled"] == 1
    response = await task
    if stream:
        assert events(response.text)[-1]["code"] == "cancelled"
    else:
        assert (response.status_code, response.json()["error"]["code"]) == (409, "cancelled")
