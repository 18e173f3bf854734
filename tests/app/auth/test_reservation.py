"""Tokens and requests of a key: reserved before the work, settled afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from llmcore.errors import InvalidRequestError, OverloadedError
from llmcore_app.application import create_service
from llmcore_app.auth.keys import load_keys
from llmcore_app.config import ServerConfig
from tests.app.auth.keyed_service import ANN, BOB, KEYS, N_ANSWER, Clock, keyed_client
from tests.app.conftest import running_service
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, URL
from tests.app.routes.test_monitoring import samples


async def test_requests_per_minute(engine: FakeEngine, clock: Clock) -> None:
    async with keyed_client(engine, clock, key_requests_per_minute=2) as client:
        first = await client.post(URL, json=HELLO, headers=ANN)
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-reset-requests"] == "30s"
        assert (await client.post(URL, json={**HELLO, "stream": True}, headers=ANN)).status_code == 200
        refused = await client.post(URL, json=HELLO, headers=ANN)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        assert refused.headers["retry-after"] == "30"
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        # Another key has limits of its own; reading and cancelling are free.
        assert (await client.post(URL, json=HELLO, headers=BOB)).status_code == 200
        assert (await client.get("/v1/models", headers=ANN)).status_code == 200
        assert (await client.delete("/v1/requests/x", headers=ANN)).status_code == 404
        clock.now_s = 30.0
        assert (await client.post(URL, json=HELLO, headers=ANN)).status_code == 200
        found = await samples(client)
    assert found["llm_service_key_refused_total{key=ann,limit=requests}"] == 1
    assert found["llm_service_key_refused_total{key=bob,limit=requests}"] == 0


async def test_tokens_are_settled_after_the_answer(engine: FakeEngine, clock: Clock) -> None:
    async with keyed_client(engine, clock, key_tokens_per_minute=100) as client:
        first = await client.post(URL, json={**HELLO, "max_tokens": 50}, headers=ANN)
        assert first.status_code == 200
        left = 100 - 7 - N_ANSWER
        assert first.headers["x-ratelimit-remaining-tokens"] == str(left)
        second = await client.get("/v1/models", headers=ANN)
        assert "x-ratelimit-remaining-tokens" not in second.headers
        refused = await client.post(URL, json={**HELLO, "max_tokens": 100}, headers=ANN)
        assert refused.status_code == 429
        assert refused.headers["x-ratelimit-remaining-tokens"] == str(left)
        assert len(engine.requests) == 1
        stream = await client.post(URL, json={**HELLO, "max_tokens": 50, "stream": True}, headers=ANN)
        assert (
            int(stream.headers["x-ratelimit-remaining-tokens"]) <= left - 50
        )  # the length of the answer is not known yet
        third = await client.post("/tokenize", json={"content": "x"}, headers=ANN)
        assert third.headers["x-ratelimit-remaining-tokens"] == str(left - 7 - N_ANSWER - 3)


async def test_embeddings_count_too(engine: FakeEngine, clock: Clock) -> None:
    body = {"input": ["x" * 40, "y" * 40]}
    async with keyed_client(engine, clock, key_tokens_per_minute=90) as client:
        first = await client.post("/v1/embeddings", json=body, headers=ANN)
        assert (first.status_code, first.headers["x-ratelimit-remaining-tokens"]) == (200, "10")
        refused = await client.post("/v1/embeddings", json=body, headers=ANN)
        assert (refused.status_code, refused.headers["x-ratelimit-remaining-tokens"]) == (429, "10")


TEXT = "x" * 40
# Every route that uses the engine, with its cost in tokens: the fake engine makes one token of each byte.
WORK = [
    ("POST", "/tokenize", {"content": TEXT}, 42),
    ("POST", "/detokenize", {"tokens": [65] * 40}, 40),
    ("POST", "/apply-template", {"messages": [{"role": "user", "content": TEXT}]}, 19),
    ("PUT", "/v1/prefixes/bot", {"prompt": TEXT}, 7),
    ("POST", "/v1/embeddings", {"input": TEXT}, 40),
    ("POST", "/v1/rerank", {"query": "x", "documents": [TEXT]}, 40),
    ("POST", "/v1/completions", {"prompt": TEXT, "max_tokens": 1}, 9),
    ("POST", URL, {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 1}, 9),
    ("POST", "/v1/responses", {"input": TEXT, "max_output_tokens": 1}, 9),
]


@pytest.mark.parametrize(("method", "path", "body", "n_tokens"), WORK, ids=lambda value: str(value)[:20])
async def test_whatever_makes_the_engine_work_is_charged(
    engine: FakeEngine, clock: Clock, method: str, path: str, body: dict[str, Any], n_tokens: int
) -> None:
    async with keyed_client(engine, clock, key_tokens_per_minute=1000) as client:
        response = await client.request(method, path, json=body, headers=ANN)
        assert response.status_code == 200, response.text
        assert response.headers["x-ratelimit-remaining-tokens"] == str(1000 - n_tokens)
    # A refused request costs nothing; a failed one costs at least its estimate.
    async with keyed_client(engine, clock, key_tokens_per_minute=1000) as client:
        engine.refusals = [OverloadedError("full")]
        response = await client.request(method, path, json=body, headers=ANN)
        assert (response.status_code, response.headers["x-ratelimit-remaining-tokens"]) == (429, "1000")
        engine.refusals = [InvalidRequestError("too long")]
        response = await client.request(method, path, json=body, headers=ANN)
        assert response.status_code == 400
        assert int(response.headers["x-ratelimit-remaining-tokens"]) <= 1000 - len(TEXT) // 4


@pytest.mark.parametrize(("method", "path", "body", "n_tokens"), WORK, ids=lambda value: str(value)[:20])
async def test_work_beyond_the_limit_is_refused_before_the_engine_has_it(
    engine: FakeEngine, clock: Clock, method: str, path: str, body: dict[str, Any], n_tokens: int
) -> None:
    async with keyed_client(engine, clock, key_tokens_per_minute=1000) as client:
        assert (await client.post("/detokenize", json={"tokens": [65] * 995}, headers=ANN)).status_code == 200
        engine.state = "failed"  # a request that reaches the engine gets a 503
        response = await client.request(method, path, json=body, headers=ANN)
        assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        for free in ("/v1/models", "/healthz"):
            assert (await client.get(free, headers=ANN)).status_code != 429


async def test_the_text_of_an_echo_is_not_made_beyond_the_limit(engine: FakeEngine, clock: Clock) -> None:
    async with keyed_client(engine, clock, key_tokens_per_minute=100) as client:
        assert (await client.post("/detokenize", json={"tokens": [65] * 50}, headers=ANN)).status_code == 200
        engine.state = "failed"
        body = {"prompt": [65] * 90, "echo": True, "max_tokens": 1}
        assert (await client.post("/v1/completions", json=body, headers=ANN)).status_code == 429


@pytest.mark.parametrize("body", [{"input": ["x" * 400]}], ids=["embeddings"])
async def test_who_hangs_up_on_a_computation_has_paid_for_it(
    engine: FakeEngine, clock: Clock, body: dict[str, Any]
) -> None:
    config = ServerConfig(api_keys=KEYS, key_tokens_per_minute=1000)
    service = create_service(engine, config, "fake", load_keys(config, clock))
    engine.admission = asyncio.Event()
    async with running_service(service) as running, httpx.AsyncClient(base_url=running.url, headers=ANN) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/embeddings", json=body, timeout=0.3)
        while "vectors" not in engine.cancelled:
            await asyncio.sleep(0.01)
        while service.n_active:
            await asyncio.sleep(0.01)
        answer = await client.post("/detokenize", json={"tokens": [65]})
        assert answer.headers["x-ratelimit-remaining-tokens"] == str(1000 - 100 - 1)


async def test_a_request_that_is_refused_gets_its_tokens_back(engine: FakeEngine, clock: Clock) -> None:
    async with keyed_client(engine, clock, key_tokens_per_minute=100, max_messages=1) as client:
        for _ in range(5):
            wrong = {"messages": HELLO["messages"] * 2, "max_tokens": 60}
            assert (await client.post(URL, json=wrong, headers=ANN)).status_code == 400
        response = await client.post(URL, json={**HELLO, "max_tokens": 60}, headers=ANN)
        assert response.status_code == 200


async def test_answers_at_once(engine: FakeEngine, clock: Clock) -> None:
    engine.admission = asyncio.Event()
    async with keyed_client(engine, clock, key_concurrent=1) as client:
        running = asyncio.create_task(client.post(URL, json=HELLO, headers=ANN))
        while not engine.requests:
            await asyncio.sleep(0)
        refused = await client.post(URL, json=HELLO, headers=ANN)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        engine.admission.set()
        assert (await running).status_code == 200
        assert (await client.post(URL, json=HELLO, headers=ANN)).status_code == 200


async def test_who_hangs_up_leaves_no_request_behind_and_pays_for_what_came(engine: FakeEngine, clock: Clock) -> None:
    config = ServerConfig(api_keys=KEYS, key_concurrent=1, key_tokens_per_minute=100_000)
    service = create_service(engine, config, "fake", load_keys(config, clock))
    forever = {"messages": [{"role": "user", "content": "forever"}], "stream": True, "max_tokens": 50_000}
    async with running_service(service) as running, httpx.AsyncClient(base_url=running.url, headers=ANN) as client:
        async with client.stream("POST", URL, json=forever) as response:
            assert int(response.headers["x-ratelimit-remaining-tokens"]) < 50_000
            assert (await client.post(URL, json=HELLO)).status_code == 429
            async for line in response.aiter_lines():
                if "word" in line:
                    break
        while (after := await client.post(URL, json=HELLO)).status_code == 429:
            await asyncio.sleep(0.01)
    assert after.status_code == 200
    assert 50_000 < int(after.headers["x-ratelimit-remaining-tokens"]) < 100_000 - 2 * 7 - N_ANSWER
