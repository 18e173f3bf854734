"""Reading a request's body, and never more of it than allowed."""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import Receive

from .errors import ApiError, ClientDisconnected, invalid


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The whole body. Raises ApiError (413) as soon as it is known to be larger, before the rest of it has come."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit_bytes:
        raise _too_large(limit_bytes)
    body = await receive_all(request.receive, limit_bytes)
    if not body.strip():
        raise invalid("empty_body", "The request has no body: send a JSON object.")
    return body


async def receive_all(receive: Receive, limit_bytes: int) -> bytes:
    """A body, empty or not. Raises ApiError (413), or ClientDisconnected."""
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
    # The connection stays: uvicorn passes over the rest of the body, for as long as a body may take (connection.py). Closing
    # it with something unread would be a reset, and many clients would never see this answer.
    message = f"The body is too large: at most {limit_bytes} bytes are accepted."
    return ApiError(413, "request_too_large", message)
