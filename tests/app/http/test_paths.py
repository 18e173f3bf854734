"""Other names of routes: each is the route itself, for callers, API keys, metrics and the cluster."""

from __future__ import annotations

import httpx
import pytest
from starlette.routing import Route

from llmcore_app.application import create_app
from llmcore_app.http.paths import canonical_path
from llmcore_app.service.service import Service
from tests.app.auth.keyed_service import ANN, Clock, keyed_client
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO, URL


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        (URL, URL),
        ("/chat/completions", URL),
        ("/v1/chat/completions/", URL),
        ("//v1//chat///completions", URL),
        ("/" * 9 + "chat/completions" + "/" * 9, URL),
        ("/models", "/v1/models"),
        ("/models/a/b/", "/v1/models/a/b"),
        ("/requests/call-17", "/v1/requests/call-17"),
        ("/rerank", "/v1/rerank"),
        ("/reranking", "/v1/rerank"),
        ("/v1/reranking/", "/v1/rerank"),
        ("/v2/rerank", "/v1/rerank"),
        ("/score", "/v1/score"),
        ("/v1/health", "/health"),
        ("/v1/ping", "/health"),
        ("/ping/", "/health"),
        ("/v1/tokenize", "/tokenize"),
        ("/v1/version", "/version"),
        ("/docs/", "/docs"),
        ("/", "/"),
        ("//", "/"),
        ("/v1", "/v1"),
        ("/v1/v1/models", "/v1/v1/models"),
        ("/v2/models", "/v2/models"),
        ("/nothing//at/all/", "/nothing/at/all"),
        ("/metrics", "/metrics"),
        ("/metrics/", "/metrics/"),
        ("//metrics", "//metrics"),
        ("/v1/metrics", "/v1/metrics"),
        ("/debug//engine", "/debug//engine"),
        ("/slots/", "/slots/"),
        ("*", "*"),
        ("", ""),
    ],
)
def test_a_path_has_one_form(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical
    assert canonical_path(canonical) == canonical


def test_every_route_is_served_with_and_without_v1_or_has_one_path(service: Service) -> None:
    alone = {"/v1/metrics", "/v1/docs", "/v1/openapi.json", "/v1/", "/v1/livez", "/v1/readyz", "/v1/healthz"}
    for route in create_app(service).routes:
        assert isinstance(route, Route)
        assert canonical_path(route.path) == route.path
        other = route.path.removeprefix("/v1") if route.path.startswith("/v1/") else f"/v1{route.path}"
        assert other in alone or other.startswith("/v1/api/") or canonical_path(other) == route.path, other


async def test_aliases_are_counted_as_their_routes(client: httpx.AsyncClient) -> None:
    for path in ("/chat/completions", "/v1/chat/completions/", "/v1//chat///completions//"):
        assert (await client.post(path, json=HELLO)).status_code == 200
    page = (await client.get("/metrics")).text
    assert f'llm_service_requests_total{{endpoint="{URL}",model="fake",status="200"}} 3.0' in page
    assert 'endpoint="/chat' not in page


async def test_models_without_v1(client: httpx.AsyncClient) -> None:
    for path in ("/models", "/models/fake", "/v1/models/fake/"):
        assert "fake" in (await client.get(path)).text


async def test_keys_guard_aliases_as_their_routes(engine: FakeEngine, clock: Clock) -> None:
    async with keyed_client(engine, clock) as client:
        for path in ("/chat/completions", "/v1//chat/completions/", "/rerank", "/v2/rerank", "/score"):
            assert (await client.post(path, json=HELLO)).status_code == 401
        assert (await client.post("/chat/completions", json=HELLO, headers=ANN)).status_code == 200
        for path in ("/ping", "/v1/health", "/health/", "/healthz/", "/version", "/docs//"):
            assert (await client.get(path)).status_code == 200
        for path in ("/models", "/v1//models", "/props", "/slots"):
            assert (await client.get(path)).status_code == 401


@pytest.fixture
def clock() -> Clock:
    return Clock()
