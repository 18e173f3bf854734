"""Answers as streams, in any encoding."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from llmcore.messages import Finished, Piece

from ..http.disconnect import while_connected
from ..http.errors import ApiError, ClientDisconnected, translate
from ..http.request_log import RequestLog
from .generation import GenerationGroup
from .stream_encoding import SSE, StreamEncoding


class StreamedAnswer(Response):
    """Base of responses that stream the outputs of a group; subclasses encode the events, or lines.

    The status is sent after the engine has admitted the group: a refusal has a status of its own. Leaving the group cancels the
    generations that have not finished: at the end, after an error, and when the client disconnects, whether the stream is
    waiting for a token or sending one.
    """

    def __init__(self, group: GenerationGroup, encoding: StreamEncoding = SSE) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = encoding.headers()
        self._group = group
        self._encoding = encoding
        self._is_silent = True  # nothing was sent since the last keep-alive interval began

    def _first_events(self) -> bytes:
        """Returns the events before all outputs; none here."""
        return b""

    def _output_events(self, outputs: Iterable[tuple[int, Piece | Finished]]) -> Iterable[bytes]:
        raise NotImplementedError

    def _error_events(self, failure: ApiError) -> bytes:
        """Returns the events of an error, which end the stream."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await while_connected(receive, self._stream(scope, send))

    async def _stream(self, scope: Scope, send: Send) -> None:
        async with self._group:
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async with _in_background(self._keep_alive(send)):
                    await self._send_outputs(send)
            except OSError:  # some servers raise it in send() after the client has disconnected
                raise ClientDisconnected from None
            except Exception as error:
                failure = translate(error)
                RequestLog.from_scope(scope).fail(failure.status, failure.code)
                await _send_chunk(send, self._error_events(failure))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_outputs(self, send: Send) -> None:
        await _send_chunk(send, self._first_events())
        async for outputs in self._group:
            self._is_silent = False
            await _send_chunk(send, b"".join(self._output_events(outputs)))

    async def _keep_alive(self, send: Send) -> None:
        """Sends what clients skip after each interval without output: proxies close a connection that is silent while a long
        prompt is computed."""
        while self._group.keep_alive_s:
            await asyncio.sleep(self._group.keep_alive_s)
            if self._is_silent:
                await _send_chunk(send, self._encoding.keep_alive)
            self._is_silent = True


@contextlib.asynccontextmanager
async def _in_background(coroutine: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Context in which the coroutine runs; it is cancelled at the end, and its errors are ignored."""
    task = asyncio.ensure_future(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _send_chunk(send: Send, chunk: bytes) -> None:
    if chunk:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
