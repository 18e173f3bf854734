"""Who may come in: ASGI middleware that asks for an API key, and holds each key to its limits."""

from __future__ import annotations

import math
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..http.errors import ApiError
from ..http.probes import PROBE_PATHS
from ..http.request_log import RequestLog
from .keys import ApiKey, Keys
from .rate_limit import RateRefusal

# What tells about the service, not of its callers' texts; open unless the option keys_everywhere is on.
PUBLIC = frozenset({"/metrics", "/docs", "/openapi.json", "/"})
# These compute nothing, and who is at a limit must still be able to cancel.
_UNLIMITED = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})


class AuthMiddleware:
    """Refuses before anything of a body is read. Stands inside of Telemetry, which answers what is raised here."""

    def __init__(self, app: ASGIApp, *, keys: Keys, everywhere: bool) -> None:
        self._app = app
        self._keys = keys
        self._open = PROBE_PATHS if everywhere else PROBE_PATHS | PUBLIC

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._open:
            await self._app(scope, receive, send)
            return
        request_log = RequestLog.from_scope(scope)
        key = self._keys.find(presented(scope["headers"]))
        if key is None:
            raise unauthorized(scope["headers"])
        request_log.key, request_log.may_pin = key.name, key.may_pin
        if scope["method"] in _UNLIMITED:
            await self._app(scope, receive, send)
            return
        visit = KeyVisit(key, request_log, self._keys.clock)
        visit.enter()

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                if not _is_stream(message):  # then the answer is whole already, and its headers can be exact
                    visit.settle()
                told = [(name.encode(), value.encode()) for name, value in visit.headers().items()]
                message["headers"] = [*message.get("headers", ()), *told]
            await send(message)

        try:
            await self._app(scope, receive, send_with_limits)
        finally:
            visit.leave()


class KeyVisit:
    """One request of a key: what it reserves, and what it comes to."""

    def __init__(self, key: ApiKey, request_log: RequestLog, clock: Callable[[], float]) -> None:
        self._meter = key.meter
        self._request_log = request_log
        self._clock = clock
        self._n_reserved = 0

    def enter(self) -> None:
        """Raises ApiError (429)."""
        self._raise(self._meter.enter(self._clock()), self.headers())
        self._request_log.reserve = self._reserve

    def _reserve(self, n_tokens: int) -> None:
        self._raise(self._meter.reserve(n_tokens, self._clock()), {})
        self._n_reserved += n_tokens

    def _raise(self, refusal: RateRefusal | None, headers: dict[str, str]) -> None:
        if refusal is not None:
            self._request_log.limit = refusal.limit
            retry = {"retry-after": str(max(1, math.ceil(refusal.retry_after_s)))}
            message = f"Rate limit reached. {refusal.message} Come back in {retry['retry-after']} s."
            raise ApiError(429, "rate_limit_exceeded", message, type="rate_limit_error", headers=retry | headers)

    def settle(self) -> None:
        """What is known to be spent stands instead of what was reserved."""
        n_spent = self._request_log.n_spent
        self._meter.settle(self._n_reserved, n_spent, self._clock())
        self._n_reserved = n_spent

    def leave(self) -> None:
        self.settle()
        self._meter.leave()

    def headers(self) -> dict[str, str]:
        return self._meter.headers(self._clock())


def _is_stream(start: Message) -> bool:
    return any(
        name == b"content-type" and value.startswith(b"text/event-stream") for name, value in start.get("headers", ())
    )


def presented(headers: list[tuple[bytes, bytes]]) -> bytes:
    """The key that a request has: `Authorization: Bearer …`, or else `x-api-key`. Empty if none."""
    for name, value in headers:
        scheme, _, key = value.strip().partition(b" ")
        if name == b"authorization" and scheme.lower() == b"bearer":
            return key.strip()
    return next((value.strip() for name, value in headers if name == b"x-api-key"), b"")


def unauthorized(headers: list[tuple[bytes, bytes]]) -> ApiError:
    message = "Incorrect API key." if presented(headers) else "No API key: send one as `Authorization: Bearer KEY`."
    return ApiError(401, "invalid_api_key", message, headers={"www-authenticate": "Bearer"})
