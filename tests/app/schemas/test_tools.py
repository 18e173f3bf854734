"""Tools of a request, as they reach the engine."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from llmcore.messages import ChatPrompt
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, post


def tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **fields}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [tool(name) for name in names]}}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


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


async def test_only_allowed_tools_reach_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    tools = [tool("clock"), tool("off"), tool("on")]
    for mode in ("auto", "required"):
        response = await post(client, tools=tools, tool_choice=allowed(mode, "on", "clock"))
        assert response.status_code == 200, response.text
        prompt = engine.requests[-1].prompt
        assert isinstance(prompt, ChatPrompt)
        assert msgspec.json.decode(prompt.tools) == [tool("clock"), tool("on")]
        assert (prompt.tool_choice, prompt.tool_name, prompt.parallel_tool_calls) == (mode, "", True)
