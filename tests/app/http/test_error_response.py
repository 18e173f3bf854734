"""Errors of middleware and of routes, in the shape of the request's API."""

from __future__ import annotations

import hashlib

import httpx
import pytest

from llmcore_app.application import create_app, create_service
from llmcore_app.auth.keys import load_keys
from llmcore_app.config import ServerConfig
from llmcore_app.http.error_response import error_response, error_stream_end
from llmcore_app.http.errors import unavailable
from tests.app.fake_engine import FakeEngine

SCOPE = {"type": "http", "path": "/v1/messages", "headers": []}


@pytest.mark.parametrize(
    ("path", "key"),
    [("/v1/messages", "type"), ("/v1/nowhere", "error"), ("/api/nowhere", "error"), ("/v1/messages/nowhere", "type")],
)
async def test_errors_of_authentication_have_the_shape_of_the_path(path: str, key: str) -> None:
    config = ServerConfig(api_keys="a:" + hashlib.sha256(b"secret").hexdigest())
    app = create_app(create_service(FakeEngine(), config, "fake", load_keys(config)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        refused = await client.post(path, json={})
        unknown = await client.get(path + "/x", headers={"x-api-key": "secret"})
    assert (refused.status_code, unknown.status_code) == (401, 404)
    for response in (refused, unknown):
        body = response.json()
        assert next(iter(body)) == key
        assert isinstance(body["error"], str) == path.startswith("/api/")
        if key == "type":
            assert body["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]
    assert refused.headers["www-authenticate"] == "Bearer"


def test_without_a_request_log() -> None:
    response = error_response(SCOPE, unavailable("There are too many connections."))
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert b'"request_id":null' in bytes(response.body)
    assert error_stream_end(SCOPE, unavailable("no")).startswith(b"event: error\n")
