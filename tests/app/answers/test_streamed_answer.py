"""Streamed answers: the engine stops when the client disconnects in any phase, and a silent stream is kept alive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import httpx
import msgspec
import pytest
from starlette.types import Message

from llmcore.messages import GenerateRequest
from llmcore_app.answers.sse import DONE
from llmcore_app.answers.stream_encoding import SSE
from llmcore_app.application import create_app, create_service
from llmcore_app.config import ServerConfig
from llmcore_app.service.service import Service
from tests.app.conftest import Running
from tests.app.fake_engine import FakeEngine, Step
from tests.app.routes.test_chat import URL


class Caller:
    """An ASGI client that can disconnect at any message."""

    def __init__(
        self,
        service: Service,
        *,
        stream: bool,
        path: str = URL,
        prompt: object = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        if body is None:
            body = {"messages": [{"role": "user", "content": "x"}], "stream": stream}
        if prompt is not None:
            body = {"prompt": prompt, "stream": stream}
        self._app = create_app(service)
        self._body = msgspec.json.encode(body)
        self._path = path
        self._asked = False
        self.left = asyncio.Event()
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def call(self) -> None:
        scope = {
            "type": "http",
            "method": "POST",
            "path": self._path,
            "headers": [],
            "query_string": b"",
            "scheme": "http",
            "server": ("x", 80),
        }
        await self._app(scope, self.receive, lambda message: self.send(message))


def waiting(request: GenerateRequest) -> Iterable[Step]:
    return ["a", asyncio.Event()]


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_while_a_token_is_awaited(service: Service, engine: FakeEngine, stream: bool) -> None:
    engine.script = waiting
    caller = Caller(service, stream=stream)
    task = asyncio.create_task(caller.call())
    while not engine.open:
        await asyncio.sleep(0)
    caller.left.set()
    await task
    assert len(engine.cancelled) == 1
    assert not engine.open
    assert service.n_active == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_leaving_before_admission(service: Service, engine: FakeEngine, stream: bool) -> None:
    engine.admission = asyncio.Event()
    caller = Caller(service, stream=stream)
    task = asyncio.create_task(caller.call())
    while not engine.requests:
        await asyncio.sleep(0)
    caller.left.set()
    await task
    assert not engine.open
    assert caller.sent == []


async def test_leaving_during_a_send(service: Service, engine: FakeEngine) -> None:
    engine.script = lambda request: ["a"] * 1000
    caller = Caller(service, stream=True)
    stuck = asyncio.Event()

    async def send(message: Message) -> None:
        if b'"a"' in message.get("body", b""):
            stuck.set()
            await asyncio.Event().wait()  # the client does not read

    caller.send = send  # type: ignore[method-assign]
    task = asyncio.create_task(caller.call())
    await stuck.wait()
    assert engine.open
    caller.left.set()
    await task
    assert len(engine.cancelled) == 1


async def test_a_send_that_fails_is_a_caller_who_left(service: Service, engine: FakeEngine) -> None:
    engine.script = waiting
    caller = Caller(service, stream=True)

    async def send(message: Message) -> None:
        if b'"a"' in message.get("body", b""):
            raise OSError("gone")

    caller.send = send  # type: ignore[method-assign]
    await caller.call()
    assert len(engine.cancelled) == 1
    assert b'status="499"' in service.metrics.render()


async def test_leaving_ends_all_answers_of_a_request(service: Service, engine: FakeEngine) -> None:
    engine.script = waiting
    caller = Caller(service, stream=True, path="/v1/completions", prompt=["a", "b", "c"])
    task = asyncio.create_task(caller.call())
    while len(engine.open) < 3:
        await asyncio.sleep(0)
    caller.left.set()
    await task
    assert len(engine.cancelled) == 3
    assert len(asyncio.all_tasks()) == 1  # this one


async def test_what_comes_together_is_sent_together(service: Service, engine: FakeEngine) -> None:
    """One step of the engine gives a token to each of several choices: they are sent together."""
    step = asyncio.Event()
    engine.script = lambda request: [step, "token"]
    caller = Caller(service, stream=True, path="/v1/completions", prompt=["a", "b", "c"])
    task = asyncio.create_task(caller.call())
    while len(engine.open) < 3:
        await asyncio.sleep(0)
    step.set()
    await task
    bodies = [message["body"] for message in caller.sent if message["type"] == "http.response.body"]
    assert [body.count(b'"token"') for body in bodies if b'"token"' in body] == [3]


async def test_cancelling_the_server_s_task_cancels_the_generation(service: Service, engine: FakeEngine) -> None:
    engine.script = waiting
    caller = Caller(service, stream=True)
    task = asyncio.create_task(caller.call())
    while not engine.open:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(engine.cancelled) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_hanging_up_on_a_real_server(running: Running, engine: FakeEngine, stream: bool) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "forever"}], "stream": stream}).encode()
    port = int(running.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (URL.encode(), len(body)) + body)
    if stream:
        await reader.readuntil(b"word")
    while not engine.open:
        await asyncio.sleep(0.01)
    writer.close()
    await writer.wait_closed()
    while engine.open:
        await asyncio.sleep(0.01)
    assert len(engine.cancelled) == 1


async def test_a_stream_arrives_piece_by_piece(running: Running, engine: FakeEngine) -> None:
    gate = asyncio.Event()
    engine.script = lambda request: ["first", gate, "second"]
    body = {"messages": [{"role": "user", "content": "x"}], "stream": True}
    async with httpx.AsyncClient() as http, http.stream("POST", running.url + URL, json=body) as response:
        async for line in response.aiter_lines():
            if "first" in line:
                break
        gate.set()  # only now: the first piece came without the second
    assert response.status_code == 200


async def test_a_silent_stream_is_kept_alive(engine: FakeEngine) -> None:
    go_on = asyncio.Event()
    engine.script = lambda request: ["a", go_on, "b"]
    caller = Caller(create_service(engine, ServerConfig(sse_keep_alive_s=0.01), "fake"), stream=True)
    task = asyncio.create_task(caller.call())
    while sum(message.get("body") == SSE.keep_alive for message in caller.sent) < 3:
        await asyncio.sleep(0.01)
    go_on.set()
    await task
    bodies = [message.get("body", b"") for message in caller.sent]
    assert bodies[-2].endswith(DONE)
    assert bodies[-1] == b""


async def test_a_stream_may_be_silent(engine: FakeEngine) -> None:
    engine.script = lambda request: ["a", 0.05, "b"]
    caller = Caller(create_service(engine, ServerConfig(sse_keep_alive_s=0), "fake"), stream=True)
    await caller.call()
    assert not any(message.get("body") == SSE.keep_alive for message in caller.sent)
