"""Paths of requests: extra slashes and other names of a route become the route's own path.

Clients of other services write paths in their own ways: without `/v1`, with a slash too many, or by another name. Each way has one
path here, which the routes, the API keys, the log and the metrics see. Nothing is redirected: many clients drop the body of a POST
when they follow a redirect.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

# Other names of routes. The shapes of requests and replies are the same.
ALIASES = {
    "/ping": "/health",
    "/reranking": "/v1/rerank",
    "/v1/reranking": "/v1/rerank",
    "/v2/rerank": "/v1/rerank",
}
# First segments of the routes under /v1, which are served without /v1 too.
_VERSIONED = frozenset(
    {"chat", "completions", "responses", "messages", "requests", "prefixes", "embeddings", "rerank", "score", "models"}
)
# Routes outside of /v1 that are served under it too.
_UNVERSIONED = frozenset({"/health", "/ping", "/version", "/tokenize", "/detokenize", "/apply-template"})
# Pages of operators have one path each: a proxy in front may hide them by their exact path.
_EXACT = frozenset({"metrics", "debug", "props", "slots"})

_SLASHES = re.compile("//+")


def canonical_path(path: str) -> str:
    """Returns the path of the route that serves `path`. A path of no route is returned without extra slashes."""
    if not path.startswith("/"):  # the asterisk of OPTIONS, the authority of CONNECT
        return path
    plain = _SLASHES.sub("/", path).rstrip("/") or "/"
    first = plain.split("/", 2)[1]
    if first in _EXACT:
        return path
    if first in _VERSIONED:
        plain = f"/v1{plain}"
    elif first == "v1" and plain.removeprefix("/v1") in _UNVERSIONED:
        plain = plain.removeprefix("/v1")
    return ALIASES.get(plain, plain)


class PathsMiddleware:
    """ASGI middleware that replaces a request's path by the canonical one. Must be the outermost one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": canonical_path(scope["path"])}
        await self._app(scope, receive, send)
