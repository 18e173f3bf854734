"""Limits of one request, through the application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from llmcore_app.application import create_app, create_service
from llmcore_app.config import ServerConfig
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, URL

RESPONSES, COMPLETIONS = "/v1/responses", "/v1/completions"
MESSAGES: list[dict[str, str]] = HELLO["messages"]


@contextlib.asynccontextmanager
async def bounded(engine: FakeEngine, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    service = create_service(engine, ServerConfig(**options), "fake")
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


@pytest.mark.parametrize(("limit", "found"), [(0, None), (8, 8)])
@pytest.mark.parametrize(
    ("url", "body"),
    [
        (URL, {**HELLO, "max_tokens": -1}),
        (URL, {**HELLO, "n_predict": -1}),
        (COMPLETIONS, {"prompt": "x", "n_predict": -1}),
        (RESPONSES, {"input": "x", "max_output_tokens": -1}),
    ],
)
async def test_minus_one_is_to_the_end_but_for_the_operators_limit(
    engine: FakeEngine, url: str, body: dict[str, Any], limit: int, found: int | None
) -> None:
    async with bounded(engine, max_answer_tokens=limit, max_tokens_default=5) as client:
        assert (await client.post(url, json=body)).status_code == 200
    assert engine.requests[0].max_tokens == found


@pytest.mark.parametrize(
    ("option", "value", "url", "body", "field"),
    [
        ("max_messages", 2, URL, {"messages": MESSAGES * 3}, "messages"),
        ("max_messages", 2, RESPONSES, {"input": MESSAGES * 3}, "input"),
        ("max_prompt_chars", 100, URL, {"messages": [{"role": "user", "content": "x" * 101}]}, "messages"),
        ("max_prompt_chars", 100, RESPONSES, {"input": "x" * 101}, "input"),
        ("max_prompt_chars", 100, COMPLETIONS, {"prompt": ["x" * 60, "y" * 41]}, "prompt"),
        ("max_prompt_chars", 100, "/v1/embeddings", {"input": ["x" * 60, "y" * 41]}, "input"),
        ("max_prompt_chars", 100, "/v1/rerank", {"query": "x" * 60, "documents": ["y" * 41]}, "documents"),
        ("max_answer_tokens", 8, URL, {**HELLO, "max_tokens": 9}, "max_tokens"),
        ("max_answer_tokens", 8, URL, {**HELLO, "max_completion_tokens": 9}, "max_completion_tokens"),
        ("max_answer_tokens", 8, RESPONSES, {"input": "x", "max_output_tokens": 9}, "max_output_tokens"),
        ("max_answer_tokens", 8, COMPLETIONS, {"prompt": "x", "max_tokens": 9}, "max_tokens"),
        ("max_request_s", 1.5, URL, {**HELLO, "timeout": 2}, "timeout"),
        ("max_request_s", 1.5, RESPONSES, {"input": "x", "timeout": 2}, "timeout"),
        ("max_request_s", 1.5, COMPLETIONS, {"prompt": "x", "timeout": 2}, "timeout"),
    ],
)
async def test_more_is_refused_by_its_field(
    engine: FakeEngine, option: str, value: float, url: str, body: dict[str, Any], field: str
) -> None:
    async with bounded(engine, **{option: value}) as client:
        response = await client.post(url, json=body)
        assert response.status_code == 400
        error = response.json()["error"]
        assert (error["param"], error["code"]) == (field, "invalid_value")
        assert f"at most {value:g}" in error["message"]
    assert not engine.requests
    async with bounded(engine) as client:
        assert (await client.post(url, json=body)).status_code == 200


async def test_requests_without_values_get_the_limits(engine: FakeEngine) -> None:
    async with bounded(engine, max_answer_tokens=8, max_request_s=1.5) as client:
        for url, body in ((URL, HELLO), (RESPONSES, {"input": "x"}), (COMPLETIONS, {"prompt": "x"})):
            assert (await client.post(url, json=body)).status_code == 200
    assert [(each.max_tokens, each.timeout_s) for each in engine.requests] == [(8, 1.5)] * 3


@pytest.mark.parametrize(
    ("url", "body"),
    [("/v1/embeddings", {"input": "x"}), ("/v1/rerank", {"query": "x", "documents": ["y"]})],
)
async def test_vectors_have_no_longer_than_that(engine: FakeEngine, url: str, body: dict[str, Any]) -> None:
    engine.admission = asyncio.Event()  # never set
    async with bounded(engine, max_request_s=0.05) as client:
        response = await client.post(url, json=body)
    assert (response.status_code, response.json()["error"]["code"]) == (408, "timeout")
    assert engine.cancelled == ["vectors"]


async def test_an_endpoint_s_own_default_stays(engine: FakeEngine) -> None:
    async with bounded(engine, max_answer_tokens=100, max_tokens_default=50) as client:
        await client.post(COMPLETIONS, json={"prompt": "x"})
        await client.post(URL, json=HELLO)
        await client.post(URL, json={**HELLO, "max_tokens": 100, "timeout": 9})
    assert [(each.max_tokens, each.timeout_s) for each in engine.requests] == [(16, None), (50, None), (100, 9)]
