"""The ASGI application that callers reach: reads a request's body, and hands it to the replica that a router chooses.

Two stages, because Serve's HTTP proxy routes before it has read a body, and a router that is to know a prompt must see it. What
a replica sends is passed on as it comes; a caller who leaves ends the call, and with it the replica's work.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from starlette.types import Message, Receive, Scope, Send

from llmcore.log import event

from ..http.body import receive_all
from ..http.disconnect import while_connected
from ..http.errors import ClientDisconnected, translate
from .beginnings import fingerprint_prompt
from .forwarded import ForwardedRequest, ReplicaResponse, forwarded
from .pages import merge_pages

logger = logging.getLogger(__name__)

ForwardedCall = Callable[[ForwardedRequest], AsyncGenerator[list[Message], None]]


class Replicas(Protocol):
    """The way to the replicas."""

    def one(self, request: ForwardedRequest) -> AsyncGenerator[list[Message], None]:
        """ASGI messages of the answer, as they come. Closing it cancels."""

    def all(self, request: ForwardedRequest) -> Awaitable[Sequence[ReplicaResponse]]:
        """The whole answer of every replica."""


class Ingress:
    """`max_body_bytes` as ServerConfig's."""

    def __init__(self, replicas: Replicas, max_body_bytes: int) -> None:
        self._replicas = replicas
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, _Sending(send))

    async def _http(self, scope: Scope, receive: Receive, sending: _Sending) -> None:
        try:
            body = await receive_all(receive, self._max_body_bytes)
            request = forwarded(scope, body, fingerprint_prompt(scope["path"], body))
            answer = self._of_all(request, sending) if _concerns_all(request) else self._of_one(request, sending)
            await while_connected(receive, answer)
        except ClientDisconnected:
            pass
        except Exception as error:
            event(logger, logging.ERROR, "forwarding_failed", path=scope["path"], error=repr(error)[:300])
            await sending.fail(error)

    async def _of_one(self, request: ForwardedRequest, sending: _Sending) -> None:
        async with aclosing(self._replicas.one(request)) as parts:
            async for messages in parts:
                for message in messages:
                    await sending(message)

    async def _of_all(self, request: ForwardedRequest, sending: _Sending) -> None:
        answers = await self._replicas.all(request)
        if request.path == "/metrics" and all(answer.status == 200 for answer in answers) and answers:
            page = merge_pages({answer.replica: answer.body.decode() for answer in answers}).encode()
            start = {**answers[0].messages[0]}
            kept = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            await sending({**start, "headers": [*kept, (b"content-length", str(len(page)).encode())]})
            await sending({"type": "http.response.body", "body": page})
            return
        # Cancelling succeeded if anybody knew the request; pinning, if nobody failed.
        pick = min if request.path.startswith("/v1/requests/") else max
        for message in pick(answers, key=lambda answer: answer.status).messages:
            await sending(message)


class _Sending:
    """Knows how far an answer has come, so that an error becomes what can still be told."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_begun = False
        self._is_stream = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._is_begun = True
            headers = message.get("headers", ())
            self._is_stream = any(n == b"content-type" and v.startswith(b"text/event-stream") for n, v in headers)
        await self._send(message)

    async def fail(self, error: Exception) -> None:
        """In OpenAI's shape: an answer, or an event of a stream that has begun. Raises `error` again where neither is possible,
        so that the connection is cut instead of looking whole."""
        answer = translate(error)
        if self._is_begun and not self._is_stream:
            raise error
        if self._is_begun:
            await self._send({"type": "http.response.body", "body": b"data: " + answer.body() + b"\n\n"})
            return
        response = answer.response()
        await self._send({"type": "http.response.start", "status": answer.status, "headers": response.raw_headers})
        await self._send({"type": "http.response.body", "body": answer.body()})


def _concerns_all(request: ForwardedRequest) -> bool:
    is_change = request.method in ("PUT", "DELETE")
    return request.path == "/metrics" or (is_change and request.path.startswith(("/v1/prefixes/", "/v1/requests/")))


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        phase = (await receive())["type"].removeprefix("lifespan.")
        await send({"type": f"lifespan.{phase}.complete"})
        if phase == "shutdown":
            return
