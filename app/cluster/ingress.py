"""ASGI application that callers reach: receives a request's body and forwards the request to a replica, or to all of them.

It is a stage of its own because Serve's HTTP proxy routes a request before it receives the body, but routing by prompt needs
the body. Responses are passed on as they arrive. A caller's disconnect ends the call and thereby the replica's work.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from typing import Protocol

from starlette.types import Message, Receive, Scope, Send

from llmcore.log import event

from ..http.body import receive_all
from ..http.disconnect import while_connected
from ..http.errors import ClientDisconnected
from .forwarded_request import ForwardedRequest
from .metrics_pages import merge_pages
from .prompt_fingerprint import fingerprint_prompt
from .replica_response import ReplicaResponse
from .response_sender import ResponseSender

logger = logging.getLogger(__name__)


class Replicas(Protocol):
    """Calls to the replicas."""

    def stream(self, request: ForwardedRequest) -> AsyncGenerator[list[Message], None]:
        """Forwards a request to one replica. Yields the response's ASGI messages as they arrive; closing cancels the request."""

    def broadcast(self, request: ForwardedRequest) -> Awaitable[Sequence[ReplicaResponse]]:
        """Forwards a request to every replica and returns their complete responses."""


class Ingress:
    """Forwards HTTP requests. Bodies above `max_body_bytes` are refused with a 413."""

    def __init__(self, replicas: Replicas, max_body_bytes: int) -> None:
        self._replicas = replicas
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _run_lifespan(receive, send)
        elif scope["type"] == "http":
            await self._forward(scope, receive, ResponseSender(scope, send))

    async def _forward(self, scope: Scope, receive: Receive, sender: ResponseSender) -> None:
        try:
            body = await receive_all(receive, self._max_body_bytes)
            request = ForwardedRequest.from_scope(scope, body, fingerprint_prompt(scope["path"], body))
            forwarding = self._broadcast if _is_for_all(request) else self._stream
            await while_connected(receive, forwarding(request, sender))
        except ClientDisconnected:
            pass
        except Exception as error:
            event(logger, logging.ERROR, "forwarding_failed", path=scope["path"], error=repr(error)[:300])
            await sender.fail(error)

    async def _stream(self, request: ForwardedRequest, sender: ResponseSender) -> None:
        async with aclosing(self._replicas.stream(request)) as batches:
            async for messages in batches:
                for message in messages:
                    await sender.send(message)

    async def _broadcast(self, request: ForwardedRequest, sender: ResponseSender) -> None:
        responses = await self._replicas.broadcast(request)
        if request.path == "/metrics" and all(response.status == 200 for response in responses) and responses:
            page = merge_pages({response.replica: response.body.decode() for response in responses}).encode()
            start = {**responses[0].messages[0]}
            kept = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            await sender.send({**start, "headers": [*kept, (b"content-length", str(len(page)).encode())]})
            await sender.send({"type": "http.response.body", "body": page})
            return
        # Cancelling has succeeded if any replica had the request; pinning and unpinning only if all replicas have succeeded.
        pick = min if request.path.startswith("/v1/requests/") else max
        for message in pick(responses, key=lambda response: response.status).messages:
            await sender.send(message)


def _is_for_all(request: ForwardedRequest) -> bool:
    is_change = request.method in ("PUT", "DELETE")
    return request.path == "/metrics" or (is_change and request.path.startswith(("/v1/prefixes/", "/v1/requests/")))


async def _run_lifespan(receive: Receive, send: Send) -> None:
    while True:
        phase = (await receive())["type"].removeprefix("lifespan.")
        await send({"type": f"lifespan.{phase}.complete"})
        if phase == "shutdown":
            return
