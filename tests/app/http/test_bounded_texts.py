"""Texts of callers in replies, headers, log lines and metrics are cut at 200 characters, with their length."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from typing import Any

import httpx
import msgspec
import pytest

from llmcore.errors import InvalidRequestError, LlmcoreError
from llmcore_app.application import create_app, create_service
from llmcore_app.auth.key_command import generate_key
from llmcore_app.config import ServerConfig
from llmcore_app.http.errors import ApiError, translate
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, URL
from tests.app.test_serve import service

LONG = "x" * 30_000
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASSISTANT = {"role": "assistant", "tool_calls": [CALL]}
SCHEMA = {"type": "json_schema", "json_schema": {"name": LONG, "schema": {"type": "object"}}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


CHATS: dict[str, dict[str, Any]] = {
    "model": {**HELLO, "model": LONG},
    "a field": {**HELLO, LONG: 1},
    "a field of a message": {"messages": [{"role": "user", "content": "x", LONG: 1}]},
    "role": {"messages": [{"role": LONG, "content": "x"}]},
    "a part": {"messages": [{"role": "user", "content": [{"type": LONG}]}]},
    "tool_call_id": {
        "messages": [*HELLO["messages"], ASSISTANT, {"role": "tool", "tool_call_id": LONG, "content": "x"}]
    },
    "a tool twice": {**HELLO, "tools": [named(LONG), named(LONG)]},
    "tool_choice": {**HELLO, "tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": LONG}}},
    "tool_choice as text": {**HELLO, "tools": [TOOL], "tool_choice": LONG},
    "reasoning_effort": {**HELLO, "reasoning_effort": LONG},
    "service_tier": {**HELLO, "service_tier": LONG},
    "logit_bias": {**HELLO, "logit_bias": {LONG: 1}},
    "stop": {**HELLO, "stop": [LONG, 1]},
    "response_format": {**HELLO, "response_format": {"type": LONG}},
    "the name of a schema": {**HELLO, "response_format": SCHEMA},
    "priority": {**HELLO, "priority": LONG},
    "a number": {**HELLO, "max_tokens": LONG},
}


@pytest.mark.parametrize("name", CHATS)
async def test_fields_in_refusals(client: httpx.AsyncClient, name: str) -> None:
    response = await client.post(URL, json=CHATS[name])
    assert response.status_code in (200, 400, 404)
    assert len(response.content) + sum(len(value) for value in response.headers.values()) < 3000


@pytest.mark.parametrize("name", ["model", "role", "tool_call_id"])
async def test_the_length_is_told(client: httpx.AsyncClient, name: str) -> None:
    error = (await client.post(URL, json=CHATS[name])).json()["error"]
    lengths = [int(each) for each in re.findall(r"\((\d+) characters\)", error["message"])]
    assert len(lengths) == 1
    assert 30_000 <= lengths[0] < 30_100
    assert "x" * 201 not in error["message"]
    assert len(error["param"]) < 250


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("DELETE", "/v1/requests/" + LONG), ("GET", "/v1/models/" + LONG), ("PUT", "/v1/prefixes/" + LONG)),
        *(("GET", "/" + LONG), ("POST", "/v1/" + LONG), ("GET", "/healthz?verbose=" + LONG), ("X" * 30_000, "/livez")),
    ],
)
async def test_paths_and_methods(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, path)
    assert 400 <= response.status_code < 500
    assert len(response.content) + sum(len(value) for value in response.headers.values()) < 2000


@pytest.mark.parametrize("name", ["x-request-id", "x-priority", "user-agent", "x-" + "y" * 30_000, "authorization"])
async def test_headers(client: httpx.AsyncClient, name: str) -> None:
    response = await client.post(URL, json=HELLO, headers={name: LONG})
    assert sum(len(name) + len(value) for name, value in response.headers.items()) < 1000
    assert response.status_code == (400 if name == "x-priority" else 200)
    assert response.status_code == 200 or len(response.content) < 1000


async def test_a_question_about_many_headers(engine: FakeEngine) -> None:
    config = ServerConfig(cors_origins="https://a.example")
    transport = httpx.ASGITransport(create_app(create_service(engine, config, "fake")))
    asking = {"origin": "https://a.example", "access-control-request-method": "POST"}
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        for names, status in ((LONG, 400), ("content-type,authorization,x-stainless-os", 200)):
            response = await client.options(URL, headers={**asking, "access-control-request-headers": names})
            assert response.status_code == status
            assert sum(len(value) for value in response.headers.values()) < 1000


async def test_labels_of_metrics_take_no_text_of_callers(client: httpx.AsyncClient) -> None:
    for n in range(30):
        await client.get(f"/unknown/{n}")
        await client.delete(f"/v1/requests/id-{n}")
        await client.get(f"/v1/models/m-{n}")
        await client.request(f"METHOD{n}", "/livez")
        await client.post(URL, json={**HELLO, "user": f"user-{n}", "model": f"m-{n}"}, headers={"user-agent": f"a{n}"})
    text = (await client.get("/metrics")).text
    assert not re.findall(r"unknown/|id-\d|m-\d|METHOD|user-\d|a\d+\"", text)
    assert len(re.findall(r"^llm_service_requests_total", text, re.MULTILINE)) < 10


def test_any_error_is_bounded() -> None:
    for error in (
        ApiError(400, "code", LONG, param=LONG),
        translate(InvalidRequestError(f"before {LONG} after", param=LONG)),
        translate(LlmcoreError(LONG)),
    ):
        assert len(error.body()) < 1500
    message = translate(InvalidRequestError(f"before {LONG} after")).message
    assert message.startswith("before x")
    assert message.endswith("x after")
    assert "(30013 characters)" in message


def test_a_path_of_60_kb_without_a_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_bytes(msgspec.json.encode(generate_key("bot")[1]) + b"\n")
    with service("--api-keys-file", str(path)) as process:
        host, port = process.url.removeprefix("http://").split(":")
        for head in (f"GET /{'a' * 60_000}%0a%1b[31m", f"{'M' * 60_000} /x", f"GET /x?{'q' * 60_000}"):
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                connection.sendall(f"{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                received = b""
                with contextlib.suppress(ConnectionResetError):
                    while piece := connection.recv(65536):
                        received += piece
            assert received.startswith(b"HTTP/1.1 401")
            assert json.loads(received.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_api_key"
            assert len(received) < 1000
        process.popen.terminate()
        log = process.stderr.read()
        assert process.popen.wait(30) == 0
    lines = [line for line in log.splitlines() if " request " in line]
    assert len(lines) == 3
    assert all(len(line) < 700 for line in lines)
    assert "(60007 characters)" in lines[0]
    assert "(60000 characters)" in lines[1]
    assert "\x1b" not in log
