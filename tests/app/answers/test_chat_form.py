"""Replies of /v1/chat/completions with tool calls and reasoning."""

from __future__ import annotations

import httpx

from llmcore.messages import CallDelta, Piece
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import events, post
from tests.app.schemas.test_tools import tool

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
