"""POST /v1/responses over a fake engine."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec
import pytest

from llmcore.messages import CallDelta, ChatPrompt, Piece
from llmcore_app.schemas.responses_request import ResponsesRequest
from tests.app.fake_engine import WORDS, FakeEngine

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
