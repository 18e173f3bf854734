"""Bodies of bounded size, and refusals that name the place of the error."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, URL


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (b"", "empty_body", "no body"),
        (b" \n", "empty_body", "no body"),
        (b"{", "invalid_json", "byte 1"),
        (b'{"messages": tru}', "invalid_json", "byte 1"),
        (b'{"messages": [{"role": "user", "content": ""}]} x', "invalid_json", "byte 49"),
        (b'{"model": "\xff"}', "invalid_json", "UTF-8"),
        (b'{"model": "\\ud800"}', "invalid_json", "byte"),
        (b'{"temperature": NaN}', "invalid_json", "byte 16"),
        (b'{"temperature": 1e999}', "invalid_value", "out of range"),
        (b"[]", "invalid_type", "the body"),
        (b'"x"', "invalid_type", "the body"),
        (b'{"chat_template_kwargs":{"a":' + b"[" * 20000, "invalid_json", "nested too deeply"),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_malformed(client: httpx.AsyncClient, body: bytes, code: str, said: str) -> None:
    response = await client.post(URL, content=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == code
    assert said in error["message"]


async def test_the_content_type_does_not_matter(client: httpx.AsyncClient) -> None:
    body = b'{"messages": [{"role": "user", "content": "x"}]}'
    response = await client.post(URL, content=body, headers={"content-type": "text/plain"})
    assert response.status_code == 200


async def test_too_large_by_its_announced_length(client: httpx.AsyncClient, service: Service) -> None:
    response = await client.post(URL, content=b" " * (service.config.max_body_bytes + 1))
    assert response.status_code == 413
    assert str(service.config.max_body_bytes) in response.json()["error"]["message"]


async def test_too_large_without_a_length_is_not_read_to_its_end(client: httpx.AsyncClient, service: Service) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1000
            yield b" " * 1000

    response = await client.post(URL, content=endless())
    assert response.status_code == 413
    assert sent <= service.config.max_body_bytes + 2000


async def test_exactly_the_limit_is_fine(client: httpx.AsyncClient, service: Service, engine: FakeEngine) -> None:
    body = httpx.Request("POST", "http://x", json=HELLO).content
    response = await client.post(URL, content=body.ljust(service.config.max_body_bytes))
    assert response.status_code == 200
    assert len(engine.requests) == 1
