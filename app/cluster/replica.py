"""One replica: the whole service, with its own engine in a child process, answering requests that are handed over."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.types import ASGIApp, Message

from llmcore.errors import EngineUnavailableError

from ..application import create_app
from ..service.service import Service
from .forwarded import ForwardedRequest, ReplicaResponse

# Time for the application to end an answer that nobody waits for any more, before its task is cancelled.
LEAVE_S = 5.0


class Replica:
    def __init__(self, service: Service, name: str) -> None:
        self._service = service
        self._name = name
        self._app = create_app(service)

    async def start(self) -> None:
        """Returns once the model is loaded. Raises its error if it cannot be."""
        await self._service.engine.start()
        await self._service.engine.wait_ready()

    async def stop(self) -> None:
        await self._service.drain(0.0)

    def check(self) -> None:
        """Raises EngineUnavailableError where no engine will come any more. One that is being restarted is no reason to throw
        the replica away: what waits in it would be lost."""
        if self._service.engine.state in ("failed", "stopped"):
            raise EngineUnavailableError(f"the engine is {self._service.engine.state}")

    async def respond(self, request: ForwardedRequest) -> AsyncGenerator[list[Message], None]:
        """ASGI messages of the answer; those that came while nobody asked are given together."""
        async with contextlib.aclosing(respond(self._app, request)) as parts:
            async for messages in parts:
                yield messages

    async def whole(self, request: ForwardedRequest) -> ReplicaResponse:
        messages = [message async for messages in self.respond(request) for message in messages]
        return ReplicaResponse(self._name, tuple(messages))


async def respond(app: ASGIApp, request: ForwardedRequest) -> AsyncGenerator[list[Message], None]:
    """Runs an application for one request. Closing the generator is the client's leaving."""
    outbox: list[Message] = []
    news, left = asyncio.Event(), asyncio.Event()
    is_body_told = False

    async def receive() -> Message:
        nonlocal is_body_told
        if not is_body_told:
            is_body_told = True
            return {"type": "http.request", "body": request.body, "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        outbox.append(message)
        news.set()

    task = asyncio.ensure_future(app(request.scope(), receive, send))
    task.add_done_callback(lambda _: news.set())
    try:
        while True:
            await news.wait()
            news.clear()
            is_done = task.done()
            if outbox:
                messages, outbox[:] = list(outbox), []
                yield messages
            if is_done:
                task.result()
                return
    finally:
        left.set()
        await asyncio.wait((task,), timeout=LEAVE_S)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
