"""Messages of a conversation, as they reach the engine."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

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
    prompt = engine.requests[0].prompt
    assert isinstance(prompt, ChatPrompt)
    assert msgspec.json.decode(prompt.messages) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "B"},
    ]


def message(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "x"}, fields]}


async def test_images_are_refused_in_words(client: httpx.AsyncClient) -> None:
    response = await post(client, **message(role="user", content=[{"type": "image_url", "image_url": {"url": "x"}}]))
    assert "images are not supported" in response.json()["error"]["message"]
