"""Outermost middleware: request id, one log line and metrics per request, and a response for every exception."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmcore.log import event

from ..http.error_response import error_response
from ..http.error_shapes import error_shape
from ..http.errors import ClientDisconnected, translate
from ..http.ignored_fields import HEADER
from ..http.probes import PROBE_PATHS
from ..http.request_log import RequestLog
from .ignored_log import IgnoredLog
from .route_patterns import RoutePatterns
from .service import Service

logger = logging.getLogger(__name__)

# nginx's status for a client that disconnected before its response was complete.
CLIENT_CLOSED_REQUEST = 499
# Monitoring requests these every few seconds; at the usual level their lines would drown the others.
_LOGGED_AT_DEBUG = PROBE_PATHS | {"/metrics"}


class TelemetryMiddleware:
    """ASGI middleware. Attaches a RequestLog to the scope, and logs and counts it when the response has ended."""

    def __init__(self, app: ASGIApp, *, service: Service, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._service = service
        self._patterns = RoutePatterns(routes)
        self._ignored_log = IgnoredLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises only if a response has begun and cannot be completed: the server then cuts the connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_log = RequestLog.attach(scope, self._patterns.match(scope["path"]))
        request_log.ignored.refuses_unknown = self._service.config.unknown_fields == "refuse"

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                request_log.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers(request_log, scope)]
            await send(message)

        self._service.n_active += 1
        try:
            await self._respond(scope, receive, send_with_id, request_log)
        finally:
            self._service.n_active -= 1
            self._report(request_log)

    async def _respond(self, scope: Scope, receive: Receive, send: Send, request_log: RequestLog) -> None:
        try:
            await self._app(scope, receive, send)
        except ClientDisconnected:
            request_log.fail(CLIENT_CLOSED_REQUEST, "client_disconnected")
        except Exception as error:
            if request_log.status:
                request_log.fail(500, "internal_error")
                raise
            answer = translate(error)
            request_log.error = answer.code
            await error_response(scope, answer)(scope, receive, send)

    def _headers(self, request_log: RequestLog, scope: Scope) -> list[tuple[bytes, bytes]]:
        request_id = request_log.request_id.encode()
        headers = [(name, request_id) for name in error_shape(scope).request_id_headers]
        if request_log.ignored.paths:
            headers.append((HEADER.encode(), request_log.ignored.header().encode()))
        if self._service.is_draining:
            headers.append((b"connection", b"close"))
        return headers

    def _report(self, request_log: RequestLog) -> None:
        duration_s = time.monotonic() - request_log.started_s
        self._service.metrics.observe_request(request_log, duration_s)
        self._ignored_log.report(request_log)
        level = logging.DEBUG if request_log.endpoint in _LOGGED_AT_DEBUG else logging.INFO
        event(logger, level, "request", **_fields(request_log, duration_s))


def _fields(request_log: RequestLog, duration_s: float) -> dict[str, object]:
    """Returns the fields of the log line. Fields without a value are left out."""
    fields: dict[str, object] = {
        "method": request_log.method,
        "path": request_log.path,
        "status": request_log.status,
        "duration_s": duration_s,
        "request_id": request_log.request_id,
    }
    if request_log.key:
        fields["key"] = request_log.key
    if request_log.n_prompt:
        fields |= {"id": request_log.unique, "n_prompt": request_log.n_prompt, "n_cached": request_log.n_cached}
        fields |= {"n_generated": request_log.n_generated}
    if request_log.ttft_s is not None:
        fields["ttft_s"] = request_log.ttft_s
    if request_log.error:
        fields["error"] = request_log.error
    return fields
