"""One replica, without Ray."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.types import Receive, Scope, Send

from llmcore.errors import EngineUnavailableError, ModelFormatError
from llmcore_app.cluster import replica as replica_module
from llmcore_app.cluster.replica import Replica, run_application
from llmcore_app.service.service import Service
from tests.app.cluster.requests import forwarded
from tests.app.fake_engine import WORDS, FakeEngine

CHAT = "/v1/chat/completions"


def chat(text: str, *, stream: bool = False) -> bytes:
    return json.dumps({"messages": [{"role": "user", "content": text}], "stream": stream}).encode()


async def test_a_replica_is_healthy_until_its_engine_is_given_up(service: Service, engine: FakeEngine) -> None:
    replica = Replica(service, "a")
    await replica.start()
    replica.check_health()
    engine.state = "restarting"
    replica.check_health()
    await replica.stop()
    with pytest.raises(EngineUnavailableError):
        replica.check_health()


async def test_a_model_that_cannot_be_loaded_fails_the_start(service: Service, engine: FakeEngine) -> None:
    engine.load_error = ModelFormatError("not a GGUF file")
    with pytest.raises(ModelFormatError):
        await Replica(service, "a").start()


async def test_a_response_is_collected_under_the_replicas_name(service: Service) -> None:
    response = await Replica(service, "a").collect_response(forwarded(CHAT, chat("hello")))
    assert (response.replica, response.status) == ("a", 200)
    assert json.loads(response.body)["choices"][0]["message"]["content"] == "".join(WORDS)


async def test_closing_the_generator_cancels_the_request(service: Service, engine: FakeEngine) -> None:
    batches = Replica(service, "a").respond(forwarded(CHAT, chat("forever", stream=True)))
    first = await batches.__anext__()
    assert first[0]["status"] == 200
    await batches.aclose()
    assert len(engine.cancelled) == 1
    assert not engine.open


async def test_messages_sent_since_the_last_yield_come_together() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert await receive() == {"type": "http.request", "body": b"x", "more_body": False}
        for n in range(3):
            await send({"type": "test", "n": n})
        await asyncio.sleep(0.01)
        await send({"type": "test", "n": 3})

    batches = [messages async for messages in run_application(app, forwarded("/", b"x"))]
    assert [[message["n"] for message in messages] for messages in batches] == [[0, 1, 2], [3]]


async def test_an_exception_comes_after_the_messages() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "test"})
        raise ValueError("x")

    batches = run_application(app, forwarded("/"))
    assert await batches.__anext__() == [{"type": "test"}]
    with pytest.raises(ValueError, match="x"):
        await batches.__anext__()


async def test_an_application_that_ignores_a_disconnect_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replica_module, "DISCONNECT_S", 0.01)
    was_cancelled = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "test"})
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            was_cancelled.append(True)
            raise

    batches = run_application(app, forwarded("/"))
    await batches.__anext__()
    await batches.aclose()
    assert was_cancelled == [True]
