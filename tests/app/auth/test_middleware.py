"""API keys: which requests need one, and what a key gives access to."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path

import httpx
import msgspec
import openai
import pytest
from starlette.types import Message

from llmcore_app.application import create_admin_app, create_app, create_service
from llmcore_app.auth.keys import load_keys
from llmcore_app.config import ServerConfig
from tests.app.auth.keyed_service import ANN, BOB, KEYS, N_ANSWER, Clock, keyed_client
from tests.app.conftest import running_service
from tests.app.fake_engine import WORDS, FakeEngine
from tests.app.routes.test_chat import HELLO, URL
from tests.app.routes.test_monitoring import samples
from tests.log_events import events


async def test_a_valid_key_is_accepted(engine: FakeEngine, clock: Clock) -> None:
    async with keyed_client(engine, clock) as client:
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
async def test_a_missing_or_wrong_key_is_refused(engine: FakeEngine, clock: Clock, headers: dict[str, str]) -> None:
    async with keyed_client(engine, clock) as client:
        response = await client.post(URL, json=HELLO, headers=headers)
        assert response.status_code == 401
        error = response.json()["error"]
        assert (error["code"], error["type"], error["param"]) == ("invalid_api_key", "invalid_request_error", None)
        assert response.headers["www-authenticate"] == "Bearer"
        assert "x-request-id" in response.headers
        # Without a key, even existing paths are not revealed.
        for path in ("/nothing", "/v1/models", "/debug/engine", "/v1//models", "/metrics/", "/docs//x"):
            assert (await client.get(path, headers=headers)).status_code == 401
    assert not engine.requests


async def test_the_body_of_a_stranger_is_not_read(engine: FakeEngine, clock: Clock) -> None:
    config = ServerConfig(api_keys=KEYS)
    app = create_app(create_service(engine, config, "fake", load_keys(config, clock)))
    sent: list[Message] = []

    async def receive() -> Message:
        raise AssertionError("the body was read")

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": URL, "headers": [], "query_string": b"", "app": app}
    await app(scope, receive, send)
    assert sent[0]["status"] == 401


async def test_paths_that_need_no_key(engine: FakeEngine, clock: Clock) -> None:
    async with keyed_client(engine, clock) as client:
        for path in ("/healthz", "/metrics", "/docs", "/openapi.json", "/"):
            assert (await client.get(path)).status_code < 400
        assert (await client.get("/openapi.json")).json()["security"] == [{"ApiKey": []}]
    async with keyed_client(engine, clock, keys_everywhere=True) as client:
        assert (await client.get("/healthz")).status_code == 200
        for path in ("/metrics", "/docs", "/openapi.json", "/"):
            assert (await client.get(path)).status_code == 401
            assert (await client.get(path, headers=ANN)).status_code < 400


async def test_the_key_is_told_by_its_name_only(
    engine: FakeEngine, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with keyed_client(engine, clock) as client:
        await client.post(URL, json=HELLO, headers=ANN)
        await client.post(URL, json=HELLO, headers={"authorization": "Bearer stranger"})
        found = await samples(client)
        text = (await client.get("/metrics")).text
    assert found["llm_service_key_requests_total{key=ann,status=200}"] == 1
    assert found["llm_service_key_tokens_total{key=ann,kind=prompt}"] == 7
    assert found["llm_service_key_tokens_total{key=ann,kind=generated}"] == N_ANSWER
    assert found["llm_service_key_tokens_total{key=bob,kind=generated}"] == 0
    fields = events(caplog, "request")
    assert [each.get("key") for each in fields[:2]] == ["ann", None]
    for secret in ("annannann", "stranger", hashlib.sha256(b"annannann").hexdigest()):
        assert secret not in text
        assert secret not in str(fields)


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


async def test_the_engine_gets_the_key_of_a_request(engine: FakeEngine, clock: Clock) -> None:
    async with keyed_client(engine, clock) as client:
        await client.post(URL, json={**HELLO, "n": 3}, headers=ANN)
        await client.post("/v1/completions", json={"prompt": ["a", "b"]}, headers=BOB)
        await client.post(URL, json=HELLO, headers=BOB)
    assert [each.holder for each in engine.requests] == ["ann"] * 3 + ["bob"] * 3
    groups = [each.group for each in engine.requests]
    assert groups[0] == groups[1] == groups[2] != groups[3] == groups[4]
    assert all(groups[:5])
    assert groups[5] == "", "a single answer needs no group"


async def test_nobody_cancels_what_is_another_key_s(engine: FakeEngine, clock: Clock) -> None:
    engine.admission = asyncio.Event()
    async with keyed_client(engine, clock) as client:
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
    async with keyed_client(engine, clock, prefix_isolation=isolation) as client:
        for headers in (ANN, BOB):
            assert (await client.post(URL, json=HELLO, headers=headers)).status_code == 200
    assert [each.tenant for each in engine.requests] == tenants


async def test_pages_of_allowed_origins_only(engine: FakeEngine, clock: Clock) -> None:
    asks = {"origin": "https://a.example", "access-control-request-method": "POST"}
    asks["access-control-request-headers"] = "authorization, content-type"
    async with keyed_client(engine, clock) as client:
        assert (await client.options(URL, headers=asks)).status_code == 401
        assert "access-control-allow-origin" not in (await client.post(URL, json=HELLO, headers=ANN | asks)).headers
    async with keyed_client(engine, clock, cors_origins="https://a.example, https://b.example") as client:
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
    async with keyed_client(engine, clock, admin_port=0, debug=True) as client:
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
