"""Sending of one response, and of an error in its place."""

from __future__ import annotations

from starlette.types import Message, Scope, Send

from ..http.error_response import error_response, error_stream_end
from ..http.errors import translate
from ..http.stream_type import is_stream


class ResponseSender:
    """Passes ASGI messages on and tracks whether the response has begun, and whether it is a stream."""

    def __init__(self, scope: Scope, send: Send) -> None:
        """`scope` is that of the request."""
        self._scope = scope
        self._send = send
        self._has_begun = False
        self._is_stream = False

    async def send(self, message: Message) -> None:
        """Passes a message on."""
        if message["type"] == "http.response.start":
            self._has_begun = True
            self._is_stream = is_stream(message.get("headers", ()))
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """Sends an error in the shape of the request's API: as the response, or as an event of a stream that has begun.

        Raises `error` if another response has begun, so that the server cuts the connection instead of making the response look
        complete."""
        answer = translate(error)
        if self._has_begun and not self._is_stream:
            raise error
        if self._has_begun:
            await self._send({"type": "http.response.body", "body": error_stream_end(self._scope, answer)})
            return
        response = error_response(self._scope, answer)
        await self._send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        await self._send({"type": "http.response.body", "body": response.body})
