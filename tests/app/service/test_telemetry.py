"""Log lines, metrics and error responses around an application."""

from __future__ import annotations

import logging
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmcore_app.http.errors import ApiError, ClientDisconnected
from llmcore_app.http.request_log import RequestLog
from llmcore_app.service.service import Service
from llmcore_app.service.telemetry import TelemetryMiddleware
from tests.log_events import events, name_of


async def greet(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


ROUTES = [Route("/greet/{name}", greet), Route("/livez", greet)]


def client_of(service: Service, app: ASGIApp) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(TelemetryMiddleware(app, service=service, routes=ROUTES))
    return httpx.AsyncClient(transport=transport, base_url="http://service")


def raising(error: Exception, *, after_start: bool = False) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if after_start:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    return app


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return events(caplog, "request")


async def test_a_request_is_logged_and_counted_by_its_route(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        request_log = RequestLog.from_scope(scope)
        request_log.n_prompt, request_log.n_generated, request_log.ttft_s = 3, 2, 0.5
        assert service.n_active == 1
        await PlainTextResponse("hello")(scope, receive, send)

    async with client_of(service, app) as client:
        response = await client.get("/greet/ann", headers={"x-request-id": "call-1"})
    assert response.headers["x-request-id"] == "call-1"
    assert service.n_active == 0
    (fields,) = logged(caplog)
    assert (fields["path"], fields["status"], fields["request_id"]) == ("/greet/ann", 200, "call-1")
    assert (fields["n_prompt"], fields["n_generated"], fields["ttft_s"]) == (3, 2, 0.5)
    assert "key" not in fields
    assert "error" not in fields
    assert b'requests_total{endpoint="/greet/{name}",model="fake",status="200"} 1.0' in service.metrics.render()


async def test_probes_are_logged_at_debug_only(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with client_of(service, PlainTextResponse("ok")) as client:
        await client.get("/livez")
        await client.get("/greet/ann")
    levels = [each.levelno for each in caplog.records if name_of(each) == "request"]
    assert levels == [logging.DEBUG, logging.INFO]


async def test_an_exception_becomes_a_response(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with client_of(service, raising(ApiError(429, "busy", "Later."))) as client:
        response = await client.get("/greet/ann")
    assert (response.status_code, response.json()["error"]["code"]) == (429, "busy")
    assert logged(caplog)[0]["error"] == "busy"


async def test_an_exception_after_the_start_of_a_response_is_raised(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with client_of(service, raising(ValueError("x"), after_start=True)) as client:
        with pytest.raises(ValueError, match="x"):
            await client.get("/greet/ann")
    assert (logged(caplog)[0]["status"], logged(caplog)[0]["error"]) == (500, "internal_error")
    assert service.n_active == 0


async def test_a_disconnect_is_a_499(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    app = TelemetryMiddleware(raising(ClientDisconnected()), service=service, routes=ROUTES)
    await app({"type": "http", "method": "GET", "path": "/greet/ann", "headers": []}, receive, send)
    assert sent == []
    assert (logged(caplog)[0]["status"], logged(caplog)[0]["error"]) == (499, "client_disconnected")


async def test_connections_are_closed_while_draining(service: Service) -> None:
    async with client_of(service, PlainTextResponse("ok")) as client:
        assert "connection" not in (await client.get("/livez")).headers
        service.is_draining = True
        assert (await client.get("/livez")).headers["connection"] == "close"
