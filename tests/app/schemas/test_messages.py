"""Messages of a conversation, as they reach the engine."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from llmcore.messages import ChatPrompt
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import post


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
    assert rendered(engine) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "B"},
    ]


def rendered(engine: FakeEngine) -> list[dict[str, Any]]:
    """Returns the messages of the first request, as the template gets them."""
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    found: list[dict[str, Any]] = msgspec.json.decode(prompt.messages)
    return found


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "x"}, fields]}


async def test_names_and_messages_without_content_reach_the_template(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "a"}], "name": "Ada"},
        {"role": "system", "content": "Late.", "name": "rules"},
        {"role": "system", "content": [{"type": "text", "text": "Again."}]},
        {"role": "assistant", "name": "bot"},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "content": []},
        {"role": "tool", "content": [{"type": "text", "text": "9"}], "tool_call_id": "lost"},
        {"role": "tool", "content": None, "name": "clock"},
        {"role": "developer", "content": "B", "name": "dev"},
    ]
    response = await post(client, messages=messages)
    assert response.status_code == 200, response.text
    assert rendered(engine) == [
        messages[0],
        messages[1],
        messages[2],
        {"role": "assistant", "content": None, "name": "bot"},
        {"role": "assistant", "content": None},
        {"role": "assistant", "content": []},
        {"role": "tool", "content": [{"type": "text", "text": "9"}], "tool_call_id": "lost", "name": ""},
        {"role": "tool", "content": "", "tool_call_id": "", "name": "clock"},
        {"role": "system", "content": "B", "name": "dev"},
    ]


async def test_null_content_is_no_text(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    messages = [{"role": role, "content": None} for role in ("system", "developer", "user")]
    assert (await post(client, messages=messages)).status_code == 200
    assert rendered(engine) == [{"role": role, "content": ""} for role in ("system", "system", "user")]


PART = {"type": "refusal", "refusal": "No."}


@pytest.mark.parametrize(
    ("fields", "content", "told"),
    [
        ({"refusal": "No."}, "No.", ""),
        ({"content": None, "refusal": "No."}, "No.", ""),
        ({"content": "", "refusal": "No."}, "No.", ""),
        ({"content": "A", "refusal": ""}, "A", ""),
        ({"content": "A", "refusal": "No."}, "A", "messages[].refusal"),
        ({"content": [PART]}, [{"type": "text", "text": "No."}], ""),
    ],
)
async def test_a_refusal_that_comes_back_is_content(
    client: httpx.AsyncClient, engine: FakeEngine, fields: dict[str, Any], content: object, told: str
) -> None:
    question = {"role": "user", "content": "x"}
    response = await post(client, messages=[question, {"role": "assistant", **fields}, question])
    assert response.status_code == 200, response.text
    assert response.headers.get("x-llmcore-ignored", "") == told
    assert rendered(engine) == [question, {"role": "assistant", "content": content}, question]


async def test_no_messages_are_left_to_the_template(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    assert (await post(client, messages=[])).status_code == 200
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert prompt.messages == b"[]"


async def test_images_are_refused_in_words(client: httpx.AsyncClient) -> None:
    response = await post(client, **message(role="user", content=[{"type": "image_url", "image_url": {"url": "x"}}]))
    assert "images are not supported" in response.json()["error"]["message"]
