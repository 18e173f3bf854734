"""Connections that send or read too slowly, or are too many."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from llmcore_app.application import create_app, create_service
from llmcore_app.config import ServerConfig
from llmcore_app.server import connection_limits
from llmcore_app.server.server import Server
from llmcore_app.server.sockets import bind, url_of
from tests.app.fake_engine import FakeEngine, Step
from tests.app.routes.test_chat import HELLO, URL

HEAD = f"POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()


@contextlib.asynccontextmanager
async def serving(engine: FakeEngine, *, is_local: bool = False, **options: float) -> AsyncIterator[str]:
    config = ServerConfig(drain_s=0.1, **options)  # type: ignore[arg-type]
    service = create_service(engine, config, "fake")
    with bind("127.0.0.1", 0) as sock:
        server = Server(create_app(service, is_local=is_local), service)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            while not server.started and not task.done():
                await asyncio.sleep(0.01)
            yield url_of(sock)
        finally:
            server.should_exit = True
            await task


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def rest(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), 30)
    return b""


def status_and_error(answer: bytes) -> tuple[bytes, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.split()[1], json.loads(body)["error"]["code"]


async def drip(writer: asyncio.StreamWriter, bytes_: bytes) -> None:
    """Sends a byte at a time until the connection is closed."""
    with contextlib.suppress(ConnectionError):
        for byte in bytes_ * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("start", [b"G", b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_head_that_does_not_end(engine: FakeEngine, start: bytes) -> None:
    async with serving(engine, head_timeout_s=0.2) as url:
        reader, writer = await connect(url)
        writer.write(start)
        dripping = asyncio.create_task(drip(writer, b"a"))
        assert status_and_error(await rest(reader)) == (b"408", "request_late")
        writer.close()
        await dripping


async def test_a_second_head_that_does_not_end(engine: FakeEngine) -> None:
    async with serving(engine, head_timeout_s=0.2) as url:
        reader, writer = await connect(url)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b'{"status":"ok"}' in await reader.read(10_000)
        writer.write(b"GET /livez HT")
        assert status_and_error(await rest(reader)) == (b"408", "request_late")
        writer.close()


async def test_a_silent_connection_is_closed_without_a_response(engine: FakeEngine) -> None:
    async with serving(engine, head_timeout_s=0.2) as url:
        reader, writer = await connect(url)
        assert await rest(reader) == b""
        writer.close()


async def test_a_body_that_does_not_end(engine: FakeEngine) -> None:
    async with serving(engine, body_timeout_s=0.2) as url:
        reader, writer = await connect(url)
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n{")
        dripping = asyncio.create_task(drip(writer, b" "))
        assert status_and_error(await rest(reader)) == (b"408", "request_late")
        writer.close()
        await dripping
        assert engine.requests == []


@pytest.mark.parametrize("has_length", [True, False])
async def test_a_body_that_is_too_large_gets_a_413(engine: FakeEngine, has_length: bool) -> None:
    """Closing a connection with unread bytes resets it, which destroys the response."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    async with serving(engine, max_body_bytes=2**16) as url, httpx.AsyncClient(base_url=url) as client:
        for _ in range(5):
            refused = await client.post(URL, content=b" " * 10_000_000 if has_length else pieces())
            assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
        assert (await client.post(URL, json=HELLO)).status_code == 200


async def test_too_much_that_does_not_end(engine: FakeEngine) -> None:
    async with serving(engine, max_body_bytes=2**16, body_timeout_s=0.3) as url:
        reader, writer = await connect(url)
        writer.write(HEAD + b"Content-Length: 100000000\r\n\r\n{")
        dripping = asyncio.create_task(drip(writer, b" "))
        assert (await rest(reader)).startswith(b"HTTP/1.1 413")
        writer.close()
        await dripping


async def test_an_unread_body_does_not_hold_the_connection(engine: FakeEngine) -> None:
    async with serving(engine, body_timeout_s=0.2) as url:
        reader, writer = await connect(url)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        assert (await rest(reader)).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_an_answer_may_take_longer_than_a_request(engine: FakeEngine) -> None:
    async with serving(engine, body_timeout_s=0.1, head_timeout_s=0.1, send_timeout_s=0.1) as url:
        asked = {"messages": [{"role": "user", "content": "count 30"}], "stream": True}
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.post(URL, json=asked)).text.endswith("data: [DONE]\n\n")
            assert (await client.post(URL, json=asked)).text.endswith("data: [DONE]\n\n")


async def test_what_is_not_http(engine: FakeEngine) -> None:
    async with serving(engine) as url:
        for bytes_ in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"\0" * 70_000):
            reader, writer = await connect(url)
            writer.write(bytes_)
            assert status_and_error(await rest(reader)) == (b"400", "invalid_http")
            writer.close()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_who_does_not_read_ends_alone(engine: FakeEngine, stream: bool) -> None:
    async with serving(engine, send_timeout_s=0.2) as url:
        pieces: tuple[Step, ...] = (0.001, "x" * 10_000)
        flood = itertools.chain.from_iterable(itertools.repeat(pieces))
        engine.script = lambda request: flood if stream else iter(["x" * 20_000_000])
        body = json.dumps({**HELLO, "stream": stream}).encode()
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as deaf:
            deaf.sendall(HEAD + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            while not engine.requests:
                await asyncio.sleep(0.01)
            while engine.open or len(asyncio.all_tasks()) > 30:
                engine.script = lambda request: ["Hello"]
                async with httpx.AsyncClient(base_url=url) as client:
                    assert (await client.post(URL, json=HELLO)).status_code == 200
                await asyncio.sleep(0.01)
            assert engine.cancelled == ([engine.requests[0].request_id] if stream else [])


async def test_too_many_connections(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "N_SPARE", 2)
    async with serving(engine, n_connections_max=3) as url, contextlib.AsyncExitStack() as stack:
        opened = []
        for _ in range(3):
            _, writer = await connect(url)
            opened.append(writer)
            stack.callback(writer.close)
        async with httpx.AsyncClient(base_url=url) as client:
            refused = await client.post(URL, json=HELLO)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_unavailable")
            assert refused.headers["connection"] == "close"
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/readyz")).status_code == 200
        _, writer = await connect(url)
        stack.callback(writer.close)
        _, writer = await connect(url)
        stack.callback(writer.close)
        reader, writer = await connect(url)
        stack.callback(writer.close)
        assert await rest(reader) == b""
        for writer in opened:
            writer.close()
        while True:
            async with httpx.AsyncClient(base_url=url) as client:
                if (await client.post(URL, json=HELLO)).status_code == 200:
                    break


async def test_a_thousand_idle_connections(engine: FakeEngine) -> None:
    async with serving(engine) as url, contextlib.AsyncExitStack() as stack:
        for _ in range(1000):
            _, writer = await connect(url)
            stack.callback(writer.close)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.post(URL, json=HELLO)).status_code == 200
            assert (await client.get("/readyz")).json() == {"status": "ok"}
