"""The settings of a request in its Response object."""

from __future__ import annotations

import httpx

from tests.app.routes.test_responses import CLOCK, OFF, post


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
