"""Answers to browsers' questions about other origins, of bounded size."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response

# The answer repeats the names that were asked for. A browser asks for those of one call.
NAMES_MAX = 2000


class BoundedCORSMiddleware(CORSMiddleware):
    """Refuses a question that names more headers than any page sends."""

    def preflight_response(self, request_headers: Headers) -> Response:
        names = request_headers.get("access-control-request-headers", "")
        if len(names) > NAMES_MAX:
            return PlainTextResponse(
                f"Disallowed CORS headers: {len(names)} characters, at most {NAMES_MAX}", status_code=400
            )
        return super().preflight_response(request_headers)
