"""The application over a fake engine: in memory, and behind a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from llmcore_app.application import create_app, create_service
from llmcore_app.config import ServerConfig
from llmcore_app.server.server import Server
from llmcore_app.server.sockets import bind, url_of
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine


@pytest.fixture
async def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def service(engine: FakeEngine) -> Service:
    return create_service(engine, ServerConfig(max_body_bytes=2**16, drain_s=0.5), "fake")


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client


@dataclass
class Running:
    url: str
    server: Server


@contextlib.asynccontextmanager
async def running_service(service: Service) -> AsyncIterator[Running]:
    """The service on a port of its own, in this event loop."""
    with bind("127.0.0.1", 0) as sock:
        server = Server(create_app(service), service)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            while not server.started and not task.done():
                await asyncio.sleep(0.01)
            yield Running(url_of(sock), server)
        finally:
            server.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def running(service: Service) -> AsyncIterator[Running]:
    async with running_service(service) as running:
        yield running
