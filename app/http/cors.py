"""CORS middleware with replies of bounded size."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response

# The reply repeats the header names of the preflight request. A browser asks for the headers of one call.
NAMES_MAX_CHARACTERS = 2000


class BoundedCORSMiddleware(CORSMiddleware):
    """Refuses a preflight request that names more headers than any page sends."""

    def preflight_response(self, request_headers: Headers) -> Response:
        names = request_headers.get("access-control-request-headers", "")
        if len(names) > NAMES_MAX_CHARACTERS:
            return PlainTextResponse(
                f"Disallowed CORS headers: {len(names)} characters, at most {NAMES_MAX_CHARACTERS}", status_code=400
            )
        return super().preflight_response(request_headers)
