"""The items of /v1/responses, as messages of a conversation."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_responses import CALL, CALLING, CLOCK, OFF, RESULT, post, rendered


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


async def test_names_refusals_and_null_contents_as_in_chat(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    items = [
        {"role": "system", "content": None, "name": "rules"},
        {"role": "user", "content": "A", "name": "Ada"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "name": "bot"},
        CALL,
        {**RESULT, "output": None},
        {"role": "user", "content": None},
    ]
    call = {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    said = [{"type": "text", "text": "No."}]
    assert await rendered(client, engine, input=items) == [
        {"role": "system", "content": "", "name": "rules"},
        {"role": "user", "content": "A", "name": "Ada"},
        {"role": "assistant", "content": said, "name": "bot", "tool_calls": [call]},
        {"role": "tool", "content": "", "tool_call_id": "c1", "name": "clock"},
        {"role": "user", "content": ""},
    ]
