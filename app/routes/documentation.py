"""GET /openapi.json, /docs, /version and /, which redirects to /docs."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ..http.json_response import json_response
from ..schemas.version_reply import VersionReply
from .docs_page import docs_page

# The page needs its own style only. Injected content could neither run scripts nor load anything.
_CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Documentation:
    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._json = msgspec.json.encode(document)

    async def openapi(self, request: Request) -> Response:
        return Response(self._json, media_type="application/json")

    async def docs(self, request: Request) -> Response:
        page = docs_page(self._document, f"{request.url.scheme}://{request.url.netloc}")
        return Response(page, media_type="text/html", headers={"content-security-policy": _CONTENT_SECURITY_POLICY})

    async def version(self, request: Request) -> Response:
        return json_response(VersionReply(self._document["info"]["version"]))

    async def root(self, request: Request) -> Response:
        return RedirectResponse("/docs")
