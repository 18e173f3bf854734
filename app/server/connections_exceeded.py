"""ASGI application for connections beyond the limit."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..http.error_response import error_response
from ..http.errors import unavailable
from ..http.probes import PROBE_PATHS


class ConnectionsExceeded:
    """Answers probes by `app`, everything else with a 503, and closes the connection after either. An orchestrator restarts a
    service whose probes fail, so an overloaded service must answer them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        app: ASGIApp = self._app
        if scope["path"] not in PROBE_PATHS:
            app = error_response(scope, unavailable("There are too many connections."))
        await app(scope, receive, send_and_close)
