"""One replica: the service with an engine of its own in a child process, answering forwarded requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.types import ASGIApp, Message

from llmcore.errors import EngineUnavailableError

from ..application import create_app
from ..service.service import Service
from .forwarded_request import ForwardedRequest
from .replica_response import ReplicaResponse

# Seconds for the application to react to a disconnect before its task is cancelled.
DISCONNECT_S = 5.0


class Replica:
    """Answers forwarded requests by the service's application. `name` identifies the replica in its cluster."""

    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = name
        self._app = create_app(service)

    async def start(self) -> None:
        """Starts the engine and waits until the model is loaded. Raises the load error."""
        await self._service.engine.start()
        await self._service.engine.wait_ready()

    async def stop(self) -> None:
        """Stops the engine; running requests end with an error."""
        await self._service.drain(0.0)

    def check_health(self) -> None:
        """Raises EngineUnavailableError if the engine has failed or stopped for good. A restarting engine is healthy: replacing the
        replica would lose the requests that wait in it."""
        if self._service.engine.state in ("failed", "stopped"):
            raise EngineUnavailableError(f"the engine is {self._service.engine.state}")

    async def respond(self, request: ForwardedRequest) -> AsyncGenerator[list[Message], None]:
        """Yields the response's ASGI messages, grouped by arrival. Closing the generator cancels the request."""
        async with contextlib.aclosing(run_application(self._app, request)) as batches:
            async for messages in batches:
                yield messages

    async def collect_response(self, request: ForwardedRequest) -> ReplicaResponse:
        """Returns the complete response."""
        messages = [message async for messages in self.respond(request) for message in messages]
        return ReplicaResponse(self._name, tuple(messages))


async def run_application(app: ASGIApp, request: ForwardedRequest) -> AsyncGenerator[list[Message], None]:
    """Runs an ASGI application for one request. Yields its messages; those sent since the last yield come together. Closing the
    generator is a disconnect for the application."""
    outbox: list[Message] = []
    has_news, is_disconnected = asyncio.Event(), asyncio.Event()
    is_body_received = False

    async def receive() -> Message:
        nonlocal is_body_received
        if not is_body_received:
            is_body_received = True
            return {"type": "http.request", "body": request.body, "more_body": False}
        await is_disconnected.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        outbox.append(message)
        has_news.set()

    task = asyncio.ensure_future(app(request.to_scope(), receive, send))
    task.add_done_callback(lambda _: has_news.set())
    try:
        while True:
            await has_news.wait()
            has_news.clear()
            is_done = task.done()
            if outbox:
                messages, outbox[:] = list(outbox), []
                yield messages
            if is_done:
                task.result()
                return
    finally:
        is_disconnected.set()
        await asyncio.wait((task,), timeout=DISCONNECT_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
