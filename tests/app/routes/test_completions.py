"""POST /v1/completions over a fake engine."""

from __future__ import annotations

from typing import Any

import httpx

from llmcore.messages import TextPrompt
from tests.app.fake_engine import WORDS, FakeEngine, prompt_text
from tests.app.routes.test_chat import events

TEXT = "".join(WORDS)


async def post(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post("/v1/completions", json={"prompt": "Once", **fields})


async def test_whole(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = (await post(client)).json()
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    assert answer["choices"] == [{"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": None}]
    assert answer["usage"]["prompt_tokens"] == 7
    assert engine.requests[0].prompt == TextPrompt("Once")
    assert engine.requests[0].max_tokens == 16


async def test_stream(client: httpx.AsyncClient) -> None:
    response = await post(client, stream=True, stream_options={"include_usage": True})
    *chunks, end, usage, done = events(response.text)
    assert done == "[DONE]"
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == TEXT
    assert end["choices"][0] == {"index": 0, "text": "", "finish_reason": "stop", "logprobs": None}
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 7 + len(WORDS) + 1


async def test_several_answers_to_several_prompts(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = (await post(client, prompt=["a", "b"], n=2, best_of=2, seed=5)).json()
    asked = [(prompt_text(request), request.sampling.seed) for request in engine.requests]
    assert asked == [("a", 5), ("a", 6), ("b", 5), ("b", 6)]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 2 * 7


async def test_priority_and_timeout_reach_every_prompt(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    await post(client, prompt=["a", "b"], priority="low", timeout=60)
    assert [(request.priority, request.timeout_s) for request in engine.requests] == [("low", 60)] * 2


async def test_usage_so_far_in_each_chunk(client: httpx.AsyncClient) -> None:
    """As benchmarks of vLLM read it. Without the option, only the last chunk has a usage."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    response = await post(client, stream=True, stream_options=options)
    *chunks, last, done = events(response.text)
    assert done == "[DONE]"
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks]
    assert counts == sorted(counts)
    assert counts[0] >= 1
    assert all(chunk["usage"]["prompt_tokens"] == 7 for chunk in chunks)
    assert all(each["total_tokens"] == 7 + each["completion_tokens"] for each in (chunk["usage"] for chunk in chunks))
    assert set(chunks[0]["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert counts[-1] == last["usage"]["completion_tokens"]
    alone = await post(client, stream=True, stream_options={"continuous_usage_stats": True})
    assert [chunk["usage"]["completion_tokens"] for chunk in events(alone.text)[:-1]] == counts
