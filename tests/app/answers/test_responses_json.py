"""A response in one piece."""

from __future__ import annotations

import httpx

from tests.app.fake_engine import WORDS, FakeEngine
from tests.app.routes.test_responses import TEXT, post

ANSWER = {
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


async def test_whole(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = (await post(client)).json()
    assert answer.pop("id").startswith("resp_")
    assert answer.pop("completed_at") >= answer.pop("created_at") > 0
    assert answer["output"][0].pop("id").startswith("msg_")
    assert answer.pop("usage").pop("timings")["ttft_s"] == 0.003
    assert answer == ANSWER
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
