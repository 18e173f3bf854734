"""CORS replies of bounded size."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from llmcore_app.application import create_app, create_service
from llmcore_app.config import ServerConfig
from llmcore_app.http.cors import NAMES_MAX_CHARACTERS
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import URL

ORIGIN = "https://page.example"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    config = ServerConfig(cors_origins=ORIGIN)
    transport = httpx.ASGITransport(create_app(create_service(FakeEngine(), config, "fake")))
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


async def preflight(client: httpx.AsyncClient, headers: str) -> httpx.Response:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": headers}
    return await client.options(URL, headers={"origin": ORIGIN, **asked})


async def test_a_preflight_request_gets_the_headers_that_it_names(client: httpx.AsyncClient) -> None:
    response = await preflight(client, "authorization,x-priority")
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert response.headers["access-control-allow-headers"] == "authorization,x-priority"


async def test_too_many_header_names_are_refused_and_not_repeated(client: httpx.AsyncClient) -> None:
    assert (await preflight(client, "x" * NAMES_MAX_CHARACTERS)).status_code == 200
    response = await preflight(client, "x" * (NAMES_MAX_CHARACTERS + 1))
    assert response.status_code == 400
    assert len(response.content) < 200
    assert "xxx" not in str(response.headers)
