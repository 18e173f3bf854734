"""ASGI middleware that requires an API key and enforces the key's rate limits."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..http.errors import ApiError
from ..http.probes import PROBE_PATHS
from ..http.request_log import RequestLog
from ..http.stream_type import is_stream
from .keys import Keys
from .reservation import Reservation

# Pages that say nothing about callers. They need a key only if the option keys_everywhere is on.
PUBLIC_PATHS = frozenset({"/metrics", "/version", "/docs", "/openapi.json", "/"})
# Methods without rate limits: they compute nothing, and a caller at its limit must still be able to cancel.
_UNLIMITED_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


class AuthMiddleware:
    """Refuses a request before its body is read. Must be inside of TelemetryMiddleware, which turns its errors into responses."""

    def __init__(self, app: ASGIApp, *, keys: Keys, keys_everywhere: bool) -> None:
        self._app = app
        self._keys = keys
        self._open_paths = PROBE_PATHS if keys_everywhere else PROBE_PATHS | PUBLIC_PATHS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Raises ApiError: 401 without a valid key, 429 at a rate limit."""
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        request_log = RequestLog.from_scope(scope)
        key = self._keys.find(key_from_headers(scope["headers"]))
        if key is None:
            raise unauthorized_error(scope["headers"])
        request_log.key, request_log.may_pin = key.name, key.may_pin
        if scope["method"] in _UNLIMITED_METHODS:
            await self._app(scope, receive, send)
            return
        reservation = Reservation(key, request_log, self._keys.clock)
        reservation.admit()

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The headers of a complete answer can state what it has used.
                if not is_stream(message.get("headers", ())):
                    reservation.settle()
                added = [(name.encode(), value.encode()) for name, value in reservation.headers().items()]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        try:
            await self._app(scope, receive, send_with_limits)
        finally:
            reservation.release()


def key_from_headers(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Returns the key of `Authorization: Bearer KEY`, or else of `x-api-key`; empty if there is none."""
    for name, value in headers:
        scheme, _, key = value.strip().partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer":
            return key.strip()
    return next((value.strip() for name, value in headers if name == b"x-api-key"), b"")


def unauthorized_error(headers: list[tuple[bytes, bytes]]) -> ApiError:
    """Returns the 401 for a request whose key is wrong or missing."""
    is_wrong = bool(key_from_headers(headers))
    message = "Incorrect API key." if is_wrong else "No API key: send one as `Authorization: Bearer KEY`."
    return ApiError(401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"})
