"""API keys and their limits, at the door of a service."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest
from starlette.types import Message

from llmcore.errors import InvalidRequestError, OverloadedError
from llmcore_app.application import create_admin_app, create_app, create_service
from llmcore_app.auth.keys import load_keys
from llmcore_app.config import ServerConfig
from tests.app.conftest import running_service
from tests.app.fake_engine import WORDS, FakeEngine
from tests.app.routes.test_chat import HELLO, URL
from tests.app.routes.test_monitoring import samples

KEYS = ",".join(f"{name}:{hashlib.sha256(name.encode() * 3).hexdigest()}" for name in ("ann", "bob"))
ANN, BOB = {"authorization": "Bearer annannann"}, {"authorization": "Bearer bobbobbob"}
N_ANSWER = len(WORDS) + 1


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextlib.asynccontextmanager
async def at_door(engine: FakeEngine, clock: Clock, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    config = ServerConfig(api_keys=KEYS, **options)
    service = create_service(engine, config, "fake", load_keys(config, clock))
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


async def test_who_has_a_key_comes_in(engine: FakeEngine, clock: Clock) -> None:
    async with at_door(engine, clock) as client:
        for headers in (ANN, BOB, {"Authorization": "bearer  annannann"}, {"x-api-key": "annannann"}):
            assert (await client.post(URL, json=HELLO, headers=headers)).status_code == 200
            assert (await client.get("/v1/models", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        *({}, {"authorization": "Bearer x"}, {"authorization": "Bearer "}, {"authorization": "Bearer"}),
        *({"authorization": "annannann"}, {"authorization": "Basic annannann"}, {"x-api-key": "ANNANNANN"}),
        {"authorization": "Bearer wrong", "x-api-key": "annannann"},
    ],
)
async def test_who_has_none_does_not(engine: FakeEngine, clock: Clock, headers: dict[str, str]) -> None:
    async with at_door(engine, clock) as client:
        response = await client.post(URL, json=HELLO, headers=headers)
        assert response.status_code == 401
        error = response.json()["error"]
        assert (error["code"], error["type"], error["param"]) == ("invalid_api_key", "invalid_request_error", None)
        assert response.headers["www-authenticate"] == "Bearer"
        assert "x-request-id" in response.headers
        # Who may not come in is not told what there is, either.
        for path in ("/nothing", "/v1/models", "/debug/engine", "/v1//models", "/healthz/"):
            assert (await client.get(path, headers=headers)).status_code == 401
    assert not engine.requests


async def test_the_body_of_a_stranger_is_not_read(engine: FakeEngine, clock: Clock) -> None:
    config = ServerConfig(api_keys=KEYS)
    app = create_app(create_service(engine, config, "fake", load_keys(config, clock)))
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("nobody may read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": URL, "headers": [], "query_string": b"", "app": app}
    await app(scope, receive, send)
    assert sent[0]["status"] == 401


async def test_what_stays_open(engine: FakeEngine, clock: Clock) -> None:
    async with at_door(engine, clock) as client:
        for path in ("/healthz", "/metrics", "/docs", "/openapi.json", "/"):
            assert (await client.get(path)).status_code < 400
        assert (await client.get("/openapi.json")).json()["security"] == [{"ApiKey": []}]
    async with at_door(engine, clock, keys_everywhere=True) as client:
        assert (await client.get("/healthz")).status_code == 200
        for path in ("/metrics", "/docs", "/openapi.json", "/"):
            assert (await client.get(path)).status_code == 401
            assert (await client.get(path, headers=ANN)).status_code < 400


async def test_the_key_is_told_by_its_name_only(
    engine: FakeEngine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with at_door(engine, clock) as client:
        await client.post(URL, json=HELLO, headers=ANN)
        await client.post(URL, json=HELLO, headers={"authorization": "Bearer stranger"})
        found = await samples(client)
        text = (await client.get("/metrics")).text
    assert found["llm_service_key_requests_total{key=ann,status=200}"] == 1
    assert found["llm_service_key_tokens_total{key=ann,kind=prompt}"] == 7
    assert found["llm_service_key_tokens_total{key=ann,kind=generated}"] == N_ANSWER
    assert found["llm_service_key_tokens_total{key=bob,kind=generated}"] == 0
    fields = [vars(each)["event_fields"] for each in caplog.records if each.msg == "request"]
    assert [each.get("key") for each in fields[:2]] == ["ann", None]
    for secret in ("annannann", "stranger", hashlib.sha256(b"annannann").hexdigest()):
        assert secret not in text
        assert secret not in str(fields)


async def test_requests_per_minute(engine: FakeEngine, clock: Clock) -> None:
    async with at_door(engine, clock, key_requests_per_minute=2) as client:
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
        # Another key has a minute of its own; looking and cancelling are free.
        assert (await client.post(URL, json=HELLO, headers=BOB)).status_code == 200
        assert (await client.get("/v1/models", headers=ANN)).status_code == 200
        assert (await client.delete("/v1/requests/x", headers=ANN)).status_code == 404
        clock.now_s = 30.0
        assert (await client.post(URL, json=HELLO, headers=ANN)).status_code == 200
        found = await samples(client)
    assert found["llm_service_key_refused_total{key=ann,limit=requests}"] == 1
    assert found["llm_service_key_refused_total{key=bob,limit=requests}"] == 0


async def test_tokens_are_settled_after_the_answer(engine: FakeEngine, clock: Clock) -> None:
    async with at_door(engine, clock, key_tokens_per_minute=100) as client:
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
        assert int(stream.headers["x-ratelimit-remaining-tokens"]) <= left - 50  # nobody knows yet
        third = await client.post("/tokenize", json={"content": "x"}, headers=ANN)
        assert third.headers["x-ratelimit-remaining-tokens"] == str(left - 7 - N_ANSWER - 3)


async def test_embeddings_count_too(engine: FakeEngine, clock: Clock) -> None:
    body = {"input": ["x" * 40, "y" * 40]}
    async with at_door(engine, clock, key_tokens_per_minute=90) as client:
        first = await client.post("/v1/embeddings", json=body, headers=ANN)
        assert (first.status_code, first.headers["x-ratelimit-remaining-tokens"]) == (200, "10")
        refused = await client.post("/v1/embeddings", json=body, headers=ANN)
        assert (refused.status_code, refused.headers["x-ratelimit-remaining-tokens"]) == (429, "10")


TEXT = "x" * 40
# Every route that makes the engine work, with what it costs: the fake engine makes a token of each byte.
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
    async with at_door(engine, clock, key_tokens_per_minute=1000) as client:
        response = await client.request(method, path, json=body, headers=ANN)
        assert response.status_code == 200, response.text
        assert response.headers["x-ratelimit-remaining-tokens"] == str(1000 - n_tokens)
    # A request that was refused costs nothing; one that failed costs at least its estimate.
    async with at_door(engine, clock, key_tokens_per_minute=1000) as client:
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
    async with at_door(engine, clock, key_tokens_per_minute=1000) as client:
        assert (await client.post("/detokenize", json={"tokens": [65] * 995}, headers=ANN)).status_code == 200
        engine.state = "failed"  # whatever reaches it is a 503
        response = await client.request(method, path, json=body, headers=ANN)
        assert (response.status_code, response.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        for free in ("/v1/models", "/healthz"):
            assert (await client.get(free, headers=ANN)).status_code != 429


async def test_the_text_of_an_echo_is_not_made_beyond_the_limit(engine: FakeEngine, clock: Clock) -> None:
    async with at_door(engine, clock, key_tokens_per_minute=100) as client:
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


async def test_a_key_may_have_no_right_to_pin(engine: FakeEngine, clock: Clock, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    lines = [{"name": name, "sha256": hashlib.sha256(name.encode() * 3).hexdigest()} for name in ("ann", "bob", "eve")]
    lines[0]["pin"], lines[1]["pin"] = False, True  # type: ignore[assignment]
    file.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    config = ServerConfig(api_keys_file=str(file))
    app = create_app(create_service(engine, config, "fake", load_keys(config, clock)))
    transport = httpx.ASGITransport(app)
    path, body = "/v1/prefixes/bot", {"prompt": "Once"}
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        assert (await client.put(path, json=body, headers=BOB)).status_code == 200
        for method in ("PUT", "DELETE"):
            refused = await client.request(method, path, json=body, headers=ANN)
            assert refused.status_code == 403
            error = refused.json()["error"]
            assert (error["code"], error["type"]) == ("permission_denied", "permission_error")
            assert '"pin": false' in error["message"]
        assert list(engine.pinned) == ["bot"]
        assert (await client.get("/v1/prefixes", headers=ANN)).status_code == 200
        assert (await client.post(URL, json=HELLO, headers=ANN)).status_code == 200
        eve = {"authorization": "Bearer eveeveeve"}
        assert (await client.delete(path, headers=eve)).status_code == 200


async def test_the_engine_knows_whose_a_request_is(engine: FakeEngine, clock: Clock) -> None:
    async with at_door(engine, clock) as client:
        await client.post(URL, json={**HELLO, "n": 3}, headers=ANN)
        await client.post("/v1/completions", json={"prompt": ["a", "b"]}, headers=BOB)
        await client.post(URL, json=HELLO, headers=BOB)
    assert [each.holder for each in engine.requests] == ["ann"] * 3 + ["bob"] * 3
    groups = [each.group for each in engine.requests]
    assert groups[0] == groups[1] == groups[2] != groups[3] == groups[4]
    assert all(groups[:5])
    assert groups[5] == "", "one answer is no crowd"


async def test_a_request_that_is_refused_gets_its_tokens_back(engine: FakeEngine, clock: Clock) -> None:
    async with at_door(engine, clock, key_tokens_per_minute=100, max_messages=1) as client:
        for _ in range(5):
            wrong = {"messages": HELLO["messages"] * 2, "max_tokens": 60}
            assert (await client.post(URL, json=wrong, headers=ANN)).status_code == 400
        response = await client.post(URL, json={**HELLO, "max_tokens": 60}, headers=ANN)
        assert response.status_code == 200


async def test_answers_at_once(engine: FakeEngine, clock: Clock) -> None:
    engine.admission = asyncio.Event()
    async with at_door(engine, clock, key_concurrent=1) as client:
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


async def test_nobody_cancels_what_is_another_key_s(engine: FakeEngine, clock: Clock) -> None:
    engine.admission = asyncio.Event()
    async with at_door(engine, clock) as client:
        headers = ANN | {"x-request-id": "call-1"}
        running = asyncio.create_task(client.post(URL, json=HELLO, headers=headers))
        while not engine.requests:
            await asyncio.sleep(0)
        assert (await client.delete("/v1/requests/call-1", headers=BOB)).status_code == 404
        assert (await client.delete("/v1/requests/call-1", headers=ANN)).status_code == 200
        engine.admission.set()
        assert (await running).status_code == 409


@pytest.mark.parametrize(("isolation", "tenants"), [("off", ["", ""]), ("key", ["ann", "bob"])])
async def test_keys_may_be_tenants_of_the_cache(
    engine: FakeEngine, clock: Clock, isolation: str, tenants: list[str]
) -> None:
    async with at_door(engine, clock, prefix_isolation=isolation) as client:
        for headers in (ANN, BOB):
            assert (await client.post(URL, json=HELLO, headers=headers)).status_code == 200
    assert [each.tenant for each in engine.requests] == tenants


async def test_pages_of_allowed_origins_only(engine: FakeEngine, clock: Clock) -> None:
    asks = {"origin": "https://a.example", "access-control-request-method": "POST"}
    asks["access-control-request-headers"] = "authorization, content-type"
    async with at_door(engine, clock) as client:
        assert (await client.options(URL, headers=asks)).status_code == 401
        assert "access-control-allow-origin" not in (await client.post(URL, json=HELLO, headers=ANN | asks)).headers
    async with at_door(engine, clock, cors_origins="https://a.example, https://b.example") as client:
        preflight = await client.options(URL, headers=asks)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://a.example"
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        for headers, status in ((ANN, 200), ({}, 401)):
            answer = await client.post(URL, json={**HELLO, "stream": True}, headers=asks | headers)
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "https://a.example"
            assert "retry-after" in answer.headers["access-control-expose-headers"]
        stranger = await client.post(URL, json=HELLO, headers=ANN | {"origin": "https://c.example"})
        assert "access-control-allow-origin" not in stranger.headers


async def test_the_admin_listener_alone_has_metrics(engine: FakeEngine, clock: Clock) -> None:
    async with at_door(engine, clock, admin_port=0, debug=True) as client:
        assert (await client.get("/metrics")).status_code == 404
        assert (await client.get("/debug/engine", headers=ANN)).status_code == 404
    for everywhere in (False, True):
        config = ServerConfig(api_keys=KEYS, admin_port=0, debug=True, keys_everywhere=everywhere)
        service = create_service(engine, config, "fake", load_keys(config, clock))
        transport = httpx.ASGITransport(create_admin_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as admin:
            for path in ("/metrics", "/debug/engine"):
                assert (await admin.get(path)).status_code == (401 if everywhere else 200)
                assert (await admin.get(path, headers=ANN)).status_code == 200
            assert (await admin.get("/healthz")).status_code == 200
            assert (await admin.post(URL, json=HELLO, headers=ANN)).status_code == 404


async def test_the_official_client(engine: FakeEngine) -> None:
    config = ServerConfig(api_keys=KEYS, key_requests_per_minute=2)
    service = create_service(engine, config, "fake", load_keys(config))

    async def talk(url: str, key: str) -> str:
        async with openai.AsyncOpenAI(base_url=url + "/v1", api_key=key, max_retries=0) as client:
            answer = await client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "x"}])
            return answer.choices[0].message.content or ""

    async with running_service(service) as running:
        assert await talk(running.url, "annannann") == "".join(WORDS)
        with pytest.raises(openai.AuthenticationError) as wrong:
            await talk(running.url, "none")
        assert wrong.value.code == "invalid_api_key"
        await talk(running.url, "annannann")
        with pytest.raises(openai.RateLimitError) as caught:
            await talk(running.url, "annannann")
        assert caught.value.code == "rate_limit_exceeded"
        assert int(caught.value.response.headers["retry-after"]) > 0
        assert caught.value.response.headers["x-ratelimit-limit-requests"] == "2"
