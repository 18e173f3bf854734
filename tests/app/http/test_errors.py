"""Every failure as a reply in OpenAI's form."""

from __future__ import annotations

import httpx
import pytest

from llmcore.errors import (
    ContextLengthError,
    EngineDiedError,
    EngineError,
    EngineUnavailableError,
    InvalidRequestError,
    LlmcoreError,
    NativeError,
    OverloadedError,
    PoisonousError,
)
from llmcore.messages import FinishReason
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, URL, events


@pytest.mark.parametrize(
    ("error", "status", "code", "param", "type"),
    [
        (InvalidRequestError("bad", param="stop"), 400, "invalid_request", "stop", "invalid_request_error"),
        (
            InvalidRequestError("token 9 is unknown", param="tokens"),
            400,
            "invalid_request",
            "messages",
            "invalid_request_error",
        ),
        (ContextLengthError("200 > 100"), 400, "context_length_exceeded", "messages", "invalid_request_error"),
        (OverloadedError("full"), 429, "overloaded", None, "rate_limit_error"),
        (EngineUnavailableError("the engine is loading"), 503, "engine_unavailable", None, "server_error"),
        (EngineDiedError("it died"), 503, "engine_died", None, "server_error"),
        (PoisonousError("it kills"), 400, "request_poisonous", "messages", "invalid_request_error"),
        (EngineError("secret"), 500, "engine_error", None, "server_error"),
        (NativeError("secret"), 500, "native_error", None, "server_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_refusals_of_the_engine(
    client: httpx.AsyncClient,
    engine: FakeEngine,
    error: LlmcoreError,
    status: int,
    code: str,
    param: str | None,
    type: str,
    stream: bool,
) -> None:
    engine.refusals = [error]
    response = await client.post(URL, json={**HELLO, "stream": stream})
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    body = response.json()["error"]
    assert (body["code"], body["param"], body["type"]) == (code, param, type)
    assert "secret" not in response.text
    assert ("retry-after" in response.headers) == (status in (429, 503))


def saying(text: str, **fields: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}], **fields}


async def test_death_before_a_whole_answer_is_there(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await client.post(URL, json=saying("die"))
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "engine_died"
    assert not engine.open


@pytest.mark.parametrize(("text", "code"), [("die", "engine_died"), ("crash", "internal_error")])
async def test_an_error_in_mid_stream_is_an_event_and_an_end(client: httpx.AsyncClient, text: str, code: str) -> None:
    response = await client.post(URL, json=saying(text, stream=True))
    assert response.status_code == 200
    last = events(response.text)[-1]
    assert last["error"]["code"] == code
    assert "secret" not in response.text
    metrics = (await client.get("/metrics")).text
    status = 503 if text == "die" else 500
    assert f'llm_service_requests_total{{endpoint="{URL}",model="fake",status="{status}"}} 1.0' in metrics


async def test_a_bug_is_a_500_that_tells_nothing(client: httpx.AsyncClient) -> None:
    response = await client.post(URL, json=saying("crash"))
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret" not in response.text
    assert "x-request-id" in response.headers


@pytest.mark.parametrize(("reason", "status"), [("cancelled", 409), ("timeout", 408)])
@pytest.mark.parametrize("path", [URL, "/v1/completions"])
async def test_an_answer_that_was_broken_off_is_an_error(
    client: httpx.AsyncClient, engine: FakeEngine, reason: FinishReason, status: int, path: str
) -> None:
    engine.reason = reason
    body = {**HELLO, "timeout": 2.5} if path == URL else {"prompt": ["a", "b"], "timeout": 2.5}
    whole = await client.post(path, json=body)
    assert whole.status_code == status
    assert whole.json()["error"]["code"] == reason
    assert whole.headers["x-should-retry"] == "false"
    if reason == "timeout":
        assert "2.5 s" in whole.json()["error"]["message"]
    *_, last = events((await client.post(path, json={**body, "stream": True})).text)
    assert last["error"]["code"] == reason
    metrics = (await client.get("/metrics")).text
    assert f'llm_service_requests_total{{endpoint="{path}",model="fake",status="{status}"}} 2.0' in metrics
    assert not engine.open


@pytest.mark.parametrize(("wait_s", "retry_after"), [(0.0, "1"), (0.2, "1"), (2.1, "3")])
async def test_when_to_come_back(
    client: httpx.AsyncClient, engine: FakeEngine, wait_s: float, retry_after: str
) -> None:
    engine.refusals = [OverloadedError("the queue is full", retry_after_s=wait_s)]
    response = await client.post(URL, json=HELLO)
    assert (response.status_code, response.headers["retry-after"]) == (429, retry_after)


@pytest.mark.parametrize(
    "path",
    [
        "/debug/engine",
        "/v1/prefixes/a/b",
        "/nope",
        "/v1/chat/completions/x",
        "/v1/nope",
        "/healthz/x",
        "/metrics/",
        "/v1/metrics",
    ],
)
async def test_unknown_urls(client: httpx.AsyncClient, path: str) -> None:
    for method in ("GET", "POST"):
        response = await client.request(method, path)
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "unknown_url"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", URL, "POST"),
        ("DELETE", "/v1/models", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("OPTIONS", URL, "POST"),
        ("GET", "/v1/prefixes/x", "DELETE, PUT"),
        ("POST", "/v1/requests/x", "DELETE"),
    ],
)
async def test_wrong_methods(client: httpx.AsyncClient, method: str, path: str, allow: str) -> None:
    response = await client.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == allow
    assert response.json()["error"]["code"] == "method_not_allowed"


async def test_unknown_model_by_path(client: httpx.AsyncClient) -> None:
    response = await client.get("/v1/models/gpt/4")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


async def test_request_ids(client: httpx.AsyncClient) -> None:
    given = await client.post(URL, json=HELLO, headers={"x-request-id": "call-1.a:b"})
    assert given.headers["x-request-id"] == "call-1.a:b"
    for odd in ("a b", "x" * 129, "é", 'a"b'):
        made = await client.post(URL, json=HELLO, headers={b"x-request-id": odd.encode()})
        assert made.headers["x-request-id"].startswith("req-")
        assert made.headers["x-request-id"].removeprefix("req-") == made.json()["id"].removeprefix("chatcmpl-")
