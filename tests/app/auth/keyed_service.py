"""A service with two API keys, and a clock that tests set."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx

from llmcore_app.application import create_app, create_service
from llmcore_app.auth.keys import load_keys
from llmcore_app.config import ServerConfig
from tests.app.fake_engine import WORDS, FakeEngine

KEYS = ",".join(f"{name}:{hashlib.sha256(name.encode() * 3).hexdigest()}" for name in ("ann", "bob"))
ANN, BOB = {"authorization": "Bearer annannann"}, {"authorization": "Bearer bobbobbob"}
# Tokens of an answer, its end included.
N_ANSWER = len(WORDS) + 1


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@contextlib.asynccontextmanager
async def keyed_client(engine: FakeEngine, clock: Clock, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service with these options."""
    config = ServerConfig(api_keys=KEYS, **options)
    service = create_service(engine, config, "fake", load_keys(config, clock))
    transport = httpx.ASGITransport(create_app(service), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
        yield client
