"""The applications of both listeners: their routes, their middleware, their lifespan."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from llmcore_app.application import create_admin_app, create_app, create_service, model_id
from llmcore_app.auth.keys import load_keys
from llmcore_app.auth.middleware import AuthMiddleware
from llmcore_app.config import ServerConfig
from llmcore_app.http.cors import BoundedCORSMiddleware
from llmcore_app.http.origin import PagesGuard
from llmcore_app.http.paths import PathsMiddleware
from llmcore_app.http.probes import PROBE_PATHS
from llmcore_app.service.service import Service
from llmcore_app.service.telemetry import TelemetryMiddleware
from tests.app.auth.keyed_service import KEYS
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import HELLO


def service_with(**options: Any) -> Service:
    config = ServerConfig(**options)
    return create_service(FakeEngine(), config, "fake", load_keys(config))


def paths(app: Starlette) -> set[str]:
    return {route.path for route in app.routes if isinstance(route, Route)}


def layers(app: Starlette) -> list[object]:
    """Classes of the middleware, outermost first."""
    return [each.cls for each in app.user_middleware]


@pytest.mark.parametrize(
    ("name", "path", "id"),
    [
        ("", "/models/Llama-8B.gguf", "Llama-8B"),
        ("", "model.bin", "model.bin"),
        ("bot", "/models/x.gguf", "bot"),
        ("", "/models/a\udce4.gguf", "a\ufffd"),
    ],
)
def test_a_model_is_served_under_its_name_or_its_files(name: str, path: str, id: str) -> None:
    assert model_id(ServerConfig(model_name=name), path) == id


@pytest.mark.parametrize(
    ("options", "is_local", "expected"),
    [
        ({}, False, [PathsMiddleware, TelemetryMiddleware, PagesGuard]),
        ({"api_keys": KEYS}, True, [PathsMiddleware, TelemetryMiddleware, AuthMiddleware]),
        (
            {"api_keys": KEYS, "allowed_hosts": "a.example"},
            False,
            [PathsMiddleware, TelemetryMiddleware, PagesGuard, AuthMiddleware],
        ),
        (
            {"api_keys": KEYS, "cors_origins": "https://a.example"},
            False,
            [PathsMiddleware, BoundedCORSMiddleware, TelemetryMiddleware, AuthMiddleware],
        ),
    ],
)
def test_layers_of_middleware(options: dict[str, Any], is_local: bool, expected: list[object]) -> None:
    assert layers(create_app(service_with(**options), is_local=is_local)) == expected


def test_the_admin_listener_asks_for_keys_only_if_everything_does() -> None:
    assert AuthMiddleware not in layers(create_admin_app(service_with(api_keys=KEYS)))
    assert AuthMiddleware in layers(create_admin_app(service_with(api_keys=KEYS, keys_everywhere=True)))


@pytest.mark.parametrize(("admin_port", "debug"), [(-1, False), (-1, True), (0, False), (0, True)])
def test_monitoring_is_on_one_listener(admin_port: int, debug: bool) -> None:
    service = service_with(admin_port=admin_port, debug=debug)
    debugging = {"/debug/engine", "/props", "/slots"}
    monitoring = {"/metrics"} | (debugging if debug else set())
    assert paths(create_app(service)) & ({"/metrics"} | debugging) == (monitoring if admin_port < 0 else set())
    assert paths(create_admin_app(service)) == monitoring | PROBE_PATHS


async def test_the_lifespan_starts_and_stops_the_engine() -> None:
    service = service_with()
    app = create_app(service)
    async with app.router.lifespan_context(app):
        assert service.engine.state == "ready"
    assert service.engine.state == "stopped"


async def test_a_slash_too_many_is_removed_and_not_redirected(client: httpx.AsyncClient) -> None:
    for path in ("/v1/chat/completions/", "/v1///chat//completions//"):
        assert (await client.post(path, json=HELLO)).status_code == 200


def test_cancels_of_the_engine_are_measured() -> None:
    service = service_with()
    assert service.engine.on_cancelled is not None
    service.engine.on_cancelled(0.04)
    assert b'llm_service_cancel_seconds_count{model="fake"} 1.0' in service.metrics.render()
