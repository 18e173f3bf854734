"""POST /v1/chat/completions over a fake engine."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from msgspec import structs

from tests.app.fake_engine import COMPUTATION, MODEL, WORDS, FakeEngine

URL = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello!"}]}
TEXT = "".join(WORDS)


def events(text: str) -> list[Any]:
    """Returns the events of a stream, and checks their framing."""
    assert text.endswith("\n\n")
    lines = text.removesuffix("\n\n").split("\n\n")
    assert all(line.startswith("data: ") and "\n" not in line for line in lines)
    return [json.loads(data) if data != "[DONE]" else data for data in (line.removeprefix("data: ") for line in lines)]


async def post(client: httpx.AsyncClient, **fields: Any) -> httpx.Response:
    return await client.post(URL, json={**HELLO, **fields})


async def test_whole(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await post(client)
    assert response.status_code == 200
    answer = response.json()
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "fake"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": TEXT, "refusal": None},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    assert answer["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": len(WORDS) + 1,
        "total_tokens": 7 + len(WORDS) + 1,
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
        "timings": {
            "queue_s": 0.001,
            "prefill_s": 0.002,
            "ttft_s": 0.003,
            "decode_s": 0.003,
            "tokens_per_s": len(WORDS) / 0.003,
            "restored_tokens": 2,
            "tokens_per_step": None,
        },
    }
    assert not engine.open


async def test_every_part_of_an_answer_has_the_fingerprint_of_its_computation(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    assert "system_fingerprint" not in (await post(client)).json(), "none is known"
    engine.model = structs.replace(MODEL, computation=COMPUTATION)
    for url, body in ((URL, HELLO), ("/v1/completions", {"prompt": "Once"})):
        assert (await client.post(url, json=body)).json()["system_fingerprint"] == "fp_1234"
        streamed = await client.post(url, json={**body, "stream": True, "stream_options": {"include_usage": True}})
        *chunks, done = events(streamed.text)
        assert done == "[DONE]"
        assert {chunk["system_fingerprint"] for chunk in chunks} == {"fp_1234"}
    assert (await client.get("/v1/models")).json()["data"][0]["system_fingerprint"] == "fp_1234"
    assert not engine.cancelled


async def test_stream(client: httpx.AsyncClient) -> None:
    response = await post(client, stream=True)
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(response.text)
    assert done == "[DONE]"
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert all(chunk["object"] == "chat.completion.chunk" and "usage" not in chunk for chunk in chunks)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert [choice["delta"]["content"] for choice in choices[1:-1]] == [word for word in WORDS if word]
    assert choices[-1]["delta"] == {}
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]


async def test_stream_with_usage(client: httpx.AsyncClient) -> None:
    response = await post(client, stream=True, stream_options={"include_usage": True})
    *chunks, last, done = events(response.text)
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == len(WORDS) + 1
    assert all(chunk["usage"] is None for chunk in chunks)


async def test_parameters_reach_the_engine(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    values: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "seed": 2**32 - 1,
    }
    ours = {"priority": "high", "timeout": 2.5, "cache": "discard"}
    response = await post(
        client,
        **values,
        **ours,
        logit_bias={"5": -100},
        stop=["a", "b"],
        max_completion_tokens=9,
        max_tokens=9,
        model="fake",
    )
    assert response.status_code == 200, response.text
    request = engine.requests[0]
    assert {name: getattr(request.sampling, name) for name in values} == values
    assert request.sampling.logit_bias == {5: -100.0}
    assert request.stop == ("a", "b")
    assert request.max_tokens == 9
    assert (request.priority, request.timeout_s, request.keeps_prefix) == ("high", 2.5, False)


async def test_several_answers_to_one_prompt(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = (await post(client, n=3, seed=2**32 - 2)).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in answer["choices"]] == [TEXT] * 3
    assert [request.sampling.seed for request in engine.requests] == [2**32 - 2, 2**32 - 1, 0]
    assert len({request.request_id for request in engine.requests}) == 3
    assert answer["usage"]["prompt_tokens"] == 7
    assert answer["usage"]["completion_tokens"] == 3 * (len(WORDS) + 1)
    without_seed = await post(client, n=2)
    assert without_seed.status_code == 200
    assert [request.sampling.seed for request in engine.requests[3:]] == [None, None]


async def test_several_answers_streamed(client: httpx.AsyncClient) -> None:
    response = await post(client, n=2, stream=True, stream_options={"include_usage": True})
    *chunks, usage, done = events(response.text)
    assert done == "[DONE]"
    for index in (0, 1):
        mine = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert mine[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(choice["delta"].get("content", "") for choice in mine) == TEXT
        assert [choice["finish_reason"] for choice in mine if choice["finish_reason"]] == ["stop"]
    assert usage["usage"]["prompt_tokens"] == 7


async def test_unknown_model(client: httpx.AsyncClient) -> None:
    response = await post(client, model="gpt-4o")
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "'fake'" in error["message"]


@pytest.mark.parametrize(("tier", "priority"), [("flex", "low"), ("priority", "high"), ("auto", "normal")])
async def test_a_service_tier_is_a_priority(
    client: httpx.AsyncClient, engine: FakeEngine, tier: str, priority: str
) -> None:
    assert (await post(client, service_tier=tier)).status_code == 200
    assert engine.requests[0].priority == priority
