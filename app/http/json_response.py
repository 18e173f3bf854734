"""JSON responses of typed values."""

from __future__ import annotations

import msgspec
from starlette.responses import Response


def json_response(value: msgspec.Struct, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
