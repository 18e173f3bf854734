"""Patterns of routes."""

from __future__ import annotations

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from llmcore_app.service.route_patterns import RoutePatterns


async def respond(request: Request) -> Response:
    return Response()


PATTERNS = RoutePatterns(
    [Route("/a", respond), Route("/a/{name}", respond), Route("/files/{path:path}", respond), Mount("/m", routes=[])]
)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/a", "/a"),
        ("/a/b", "/a/{name}"),
        ("/a/b/c", "unknown"),
        ("/files/b/c", "/files/{path}"),
        ("/m/a", "unknown"),
        ("/a/", "unknown"),
        ("", "unknown"),
    ],
)
def test_a_path_has_the_pattern_of_its_route(path: str, pattern: str) -> None:
    assert PATTERNS.match(path) == pattern
