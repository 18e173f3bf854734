"""The outermost layer: a request id, one log line and the metrics for each request, and a reply for each crash."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmcore.log import event

from ..http import request_log as record
from ..http.errors import ClientDisconnected, translate
from ..http.request_log import RequestLog
from .service import Service

logger = logging.getLogger(__name__)

# What nginx made the usual word for a client that left before its answer was whole.
CLIENT_CLOSED_REQUEST = 499
# These come every few seconds from machines: a line each would hide the others.
_PROBES = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})


class Telemetry:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, service: Service, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._service = service
        self._endpoints = Endpoints(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = record.attach(scope, self._endpoints.of(scope["path"]))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers(entry)]
            await send(message)

        self._service.n_active += 1
        try:
            await self._run(scope, receive, send_with_id, entry)
        finally:
            self._service.n_active -= 1
            self._tell(entry)

    async def _run(self, scope: Scope, receive: Receive, send: Send, entry: RequestLog) -> None:
        try:
            await self._app(scope, receive, send)
        except ClientDisconnected:
            entry.fail(CLIENT_CLOSED_REQUEST, "client_disconnected")
        except Exception as error:
            if entry.status:  # half an answer is out: the server can only cut the connection
                entry.fail(500, "internal_error")
                raise
            answer = translate(error)
            entry.error = answer.code
            await answer.response()(scope, receive, send)

    def _headers(self, entry: RequestLog) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", entry.request_id.encode())]
        if self._service.is_draining:
            headers.append((b"connection", b"close"))
        return headers

    def _tell(self, entry: RequestLog) -> None:
        duration_s = time.monotonic() - entry.started_s
        self._service.metrics.request_ended(entry, duration_s)
        fields: dict[str, object] = {"method": entry.method, "path": entry.path, "status": entry.status}
        fields |= {"duration_s": duration_s, "request_id": entry.request_id}
        if entry.key:
            fields["key"] = entry.key
        if entry.n_prompt:
            fields |= {"id": entry.unique, "n_prompt": entry.n_prompt, "n_cached": entry.n_cached}
            fields |= {"n_generated": entry.n_generated}
        if entry.ttft_s is not None:
            fields["ttft_s"] = entry.ttft_s
        if entry.error:
            fields["error"] = entry.error
        event(logger, logging.DEBUG if entry.endpoint in _PROBES else logging.INFO, "request", **fields)


class Endpoints:
    """The pattern of the route that a path belongs to: of a few known values, whatever clients ask for."""

    UNKNOWN = "unknown"

    def __init__(self, routes: Sequence[BaseRoute]) -> None:
        known = [route for route in routes if isinstance(route, Route)]
        self._plain = {route.path for route in known if not route.param_convertors}
        self._patterns = [route for route in known if route.param_convertors]

    def of(self, path: str) -> str:
        if path in self._plain:
            return path
        return next((route.path_format for route in self._patterns if route.path_regex.match(path)), self.UNKNOWN)
