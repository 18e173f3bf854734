"""Requests as `vllm bench serve` sends them are answered as it reads them.

The bodies are those of the version of November 2026. Its rules: a stream's chunk with choices is a token, the first one ends the
time to the first token; a chunk without choices has the usage; the stream ends by [DONE].
"""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import msgspec
import pytest

from llmcore_app.application import create_service
from llmcore_app.config import ServerConfig
from tests.app.conftest import running_service
from tests.app.fake_engine import WORDS, FakeEngine
from tests.app.routes.test_chat import events

_STREAM = {"stream": True, "stream_options": {"include_usage": True}}
_COMPLETION = {"model": "fake", "prompt": "x", "repetition_penalty": 1.0, "max_tokens": 8, "logprobs": None, **_STREAM}
_MESSAGES = [{"role": "user", "content": [{"type": "text", "text": "x"}]}]
_CHAT = {"model": "fake", "messages": _MESSAGES, "max_completion_tokens": 8, **_STREAM}
# Its options --top-p, --top-k, --min-p, --temperature, --frequency-penalty, --presence-penalty, --repetition-penalty.
_SAMPLING = {
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "temperature": 0.0,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "repetition_penalty": 1.1,
}
_HEADERS = {"x-request-id": "cmpl-bench-1f3a-7", "Authorization": "Bearer EMPTY"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", _COMPLETION),
        ("/v1/completions", _COMPLETION | {"prompt": [1, 2, 3], "ignore_eos": True}),
        ("/v1/completions", _COMPLETION | {"logprobs": 1, "ignore_eos": True} | _SAMPLING),
        ("/v1/chat/completions", _CHAT),
        ("/v1/chat/completions", _CHAT | {"ignore_eos": True} | _SAMPLING),
        ("/v1/chat/completions", _CHAT | {"messages": [{"role": "user", "content": "x"}]}),
    ],
    ids=str,
)
async def test_a_stream_has_what_is_measured(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    response = await client.post(path, json=body, headers=_HEADERS)
    assert response.status_code == 200
    assert response.headers["x-request-id"] == _HEADERS["x-request-id"]
    assert "x-llmcore-ignored" not in response.headers
    *chunks, last, done = events(response.text)
    assert done == "[DONE]"
    choices = [chunk["choices"][0] for chunk in chunks]
    texts = [choice["text"] if "text" in choice else choice["delta"].get("content", "") for choice in choices]
    assert "".join(texts) == "".join(WORDS)
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == len(WORDS) + 1  # the end of the answer is a token
    assert last["usage"]["prompt_tokens"] == 7


@pytest.mark.parametrize(("path", "body"), [("/v1/completions", _COMPLETION), ("/v1/chat/completions", _CHAT)])
async def test_no_event_comes_before_the_first_token(engine: FakeEngine, path: str, body: dict[str, Any]) -> None:
    is_computed = asyncio.Event()
    engine.script = lambda request: [is_computed, "a", "b"]
    service = create_service(engine, ServerConfig(sse_keep_alive_s=0.05), "fake")
    async with (
        running_service(service) as running,
        httpx.AsyncClient(base_url=running.url) as client,
        client.stream("POST", path, json=body) as response,
    ):
        lines = response.aiter_lines()
        assert await anext(lines) == ": keep-alive"
        is_computed.set()
        received = [line async for line in lines]
    first = next(line for line in received if line.startswith("data: "))
    assert msgspec.json.decode(first.removeprefix("data: "))["choices"]


async def test_prompts_are_fitted_by_the_services_tokenizer(client: httpx.AsyncClient) -> None:
    body = {"model": "fake", "prompt": "abc", "add_special_tokens": False}
    tokens = (await client.post("/tokenize", json=body)).json()["tokens"]
    text = (await client.post("/detokenize", json={"model": "fake", "tokens": tokens[2:4]})).json()["prompt"]
    assert text == "ab"


async def test_the_first_model_is_found(client: httpx.AsyncClient) -> None:
    card = (await client.get("/v1/models")).json()["data"][0]
    assert (card["id"], card["root"]) == ("fake", "fake")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/embeddings", {"input": "ab"}),
        ("/v1/embeddings", {"input": ["ab", "abc"]}),
        ("/v1/embeddings", {"input": [1, 2, 3]}),
        ("/v1/rerank", {"query": "ab", "documents": ["abc", "d"]}),
        ("/v1/score", {"text_1": "ab", "text_2": ["abc", "d"]}),
    ],
)
async def test_texts_are_cut_to_the_models_limit_only(
    client: httpx.AsyncClient, path: str, fields: dict[str, Any]
) -> None:
    body = {"model": "fake", **fields, "truncate_prompt_tokens": -1}
    response = await client.post(path, json=body)
    assert (response.status_code, response.json()["usage"]["prompt_tokens"] > 0) == (200, True)
    assert "x-llmcore-ignored" not in response.headers
    response = await client.post(path, json=body | {"truncate_prompt_tokens": 1})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "truncate_prompt_tokens")
