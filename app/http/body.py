"""Reading the body of a request, up to a limit."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.types import Receive

from .errors import ApiError, ClientDisconnected, invalid
from .request_log import RequestLog
from .unknown_fields import decode_known

T = TypeVar("T")


async def read_json(request: Request, decoder: msgspec.json.Decoder[T], limit_bytes: int) -> T:
    """Returns the body as the decoder's type, without unknown fields: they and hints are noted in the request's log, for
    telemetry.py to tell. Raises ApiError (400 or 413), or ClientDisconnected."""
    ignored = RequestLog.from_scope(request.scope).ignored
    return decode_known(decoder, await read_body(request, limit_bytes), ignored)


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """Returns the body, which may not be empty. Raises ApiError (413) as soon as its size is known to be above the limit, without
    reading the rest; ApiError (400); or ClientDisconnected."""
    content_length = request.headers.get("content-length", "")
    if content_length.isdecimal() and int(content_length) > limit_bytes:
        raise _too_large(limit_bytes)
    body = await receive_all(request.receive, limit_bytes)
    if not body.strip():
        raise invalid("empty_body", "The request has no body: send a JSON object.")
    return body


async def receive_all(receive: Receive, limit_bytes: int) -> bytes:
    """Returns the body, which may be empty. Raises ApiError (413), or ClientDisconnected."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(limit_bytes: int) -> ApiError:
    # The connection stays open, and uvicorn discards the rest of the body within the time that a body may take (connection.py).
    # To close it with unread data would reset it, and many clients would never see this answer.
    message = f"The body is too large: at most {limit_bytes} bytes are accepted."
    return ApiError(413, "request_too_large", message)
