"""POST /v1/responses over a fake engine."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec

from llmcore.messages import CallDelta, ChatPrompt, Piece
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
    """Returns the events of a stream. They are numbered, and have their type twice."""
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
    """Returns the messages in the engine's prompt."""
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
