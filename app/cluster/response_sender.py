"""Sending of one response, and of an error in its place."""

from __future__ import annotations

from starlette.types import Message, Send

from ..http.errors import translate
from ..http.stream_type import NDJSON, stream_type


class ResponseSender:
    """Passes ASGI messages on and tracks whether the response has begun, and whether it is a stream. `path` is the request's."""

    def __init__(self, send: Send, path: str) -> None:
        self._send = send
        self._path = path
        self._has_begun = False
        self._stream_type = b""

    async def send(self, message: Message) -> None:
        """Passes a message on."""
        if message["type"] == "http.response.start":
            self._has_begun = True
            self._stream_type = stream_type(message.get("headers", ()))
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Sends an error in the form of the caller's API: as the response, or in a stream that has begun. Raises `error` if another
        response has begun, so that the server cuts the connection instead of making the response look complete."""
        answer = translate(error)
        body = answer.body(self._path)
        if self._has_begun and not self._stream_type:
            raise error
        if self._has_begun:
            part = body + b"\n" if self._stream_type == NDJSON else b"data: " + body + b"\n\n"
            await self._send({"type": "http.response.body", "body": part})
            return
        response = answer.response(self._path)
        await self._send({"type": "http.response.start", "status": answer.status, "headers": response.raw_headers})
        await self._send({"type": "http.response.body", "body": body})
