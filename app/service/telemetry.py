"""The outermost layer: a request id, one log line and the metrics for each request, and a reply for each crash."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmcore.log import event

from ..http.errors import ClientDisconnected, translate
from ..http.probes import PROBE_PATHS
from ..http.request_log import RequestLog
from .service import Service

logger = logging.getLogger(__name__)

# What nginx made the usual word for a client that left before its answer was whole.
CLIENT_CLOSED_REQUEST = 499
# These come every few seconds from machines: a line each would hide the others.
_LOGGED_AT_DEBUG = PROBE_PATHS | {"/metrics"}


class TelemetryMiddleware:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, service: Service, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._service = service
        self._endpoints = Endpoints(routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_log = RequestLog.attach(scope, self._endpoints.of(scope["path"]))

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                request_log.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._headers(request_log)]
            await send(message)

        self._service.n_active += 1
        try:
            await self._run(scope, receive, send_with_id, request_log)
        finally:
            self._service.n_active -= 1
            self._tell(request_log)

    async def _run(self, scope: Scope, receive: Receive, send: Send, request_log: RequestLog) -> None:
        try:
            await self._app(scope, receive, send)
        except ClientDisconnected:
            request_log.fail(CLIENT_CLOSED_REQUEST, "client_disconnected")
        except Exception as error:
            if request_log.status:  # half an answer is out: the server can only cut the connection
                request_log.fail(500, "internal_error")
                raise
            answer = translate(error)
            request_log.error = answer.code
            await answer.response()(scope, receive, send)

    def _headers(self, request_log: RequestLog) -> list[tuple[bytes, bytes]]:
        headers = [(b"x-request-id", request_log.request_id.encode())]
        if self._service.is_draining:
            headers.append((b"connection", b"close"))
        return headers

    def _tell(self, request_log: RequestLog) -> None:
        duration_s = time.monotonic() - request_log.started_s
        self._service.metrics.observe_request(request_log, duration_s)
        fields: dict[str, object] = {
            "method": request_log.method,
            "path": request_log.path,
            "status": request_log.status,
        }
        fields |= {"duration_s": duration_s, "request_id": request_log.request_id}
        if request_log.key:
            fields["key"] = request_log.key
        if request_log.n_prompt:
            fields |= {"id": request_log.unique, "n_prompt": request_log.n_prompt, "n_cached": request_log.n_cached}
            fields |= {"n_generated": request_log.n_generated}
        if request_log.ttft_s is not None:
            fields["ttft_s"] = request_log.ttft_s
        if request_log.error:
            fields["error"] = request_log.error
        event(logger, logging.DEBUG if request_log.endpoint in _LOGGED_AT_DEBUG else logging.INFO, "request", **fields)


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
