"""The ingress with replicas in this process: the service over the fake engine, without Ray."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncGenerator, Awaitable, Sequence
from typing import Any

import httpx
import pytest
from starlette.types import Message

from llmcore.errors import EngineDiedError
from llmcore_app.cluster.forwarded_request import ForwardedRequest
from llmcore_app.cluster.ingress import Ingress
from llmcore_app.cluster.replica import Replica
from llmcore_app.cluster.replica_response import ReplicaResponse
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine

CHAT = "/v1/chat/completions"
HELLO = {"messages": [{"role": "user", "content": "hello"}]}


class InProcess:
    """Two replicas; requests go to the first."""

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.requests: list[ForwardedRequest] = []
        self.dies_after: int | None = None  # messages

    async def stream(self, request: ForwardedRequest) -> AsyncGenerator[list[Message], None]:
        self.requests.append(request)
        n = 0
        parts = self.replica.respond(request)
        try:
            async for messages in parts:
                for message in messages:
                    if n == self.dies_after:
                        raise EngineDiedError("the replica ended while this request was running")
                    n += 1
                    yield [message]
        finally:
            await parts.aclose()

    def broadcast(self, request: ForwardedRequest) -> Awaitable[Sequence[ReplicaResponse]]:
        async def gathered() -> list[ReplicaResponse]:
            missing = ReplicaResponse("b", ({"type": "http.response.start", "status": 404, "headers": []},))
            first = await self.replica.collect_response(request)
            return [first, first if request.path == "/metrics" else missing]

        return gathered()


@pytest.fixture
async def replicas(service: Service) -> InProcess:
    replica = Replica(service, "a")
    await replica.start()
    return InProcess(replica)


def client_of(replicas: InProcess) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Ingress(replicas, 4096))
    return httpx.AsyncClient(transport=transport, base_url="http://service")


async def test_answers_pass_through_and_routers_see_the_prompt(replicas: InProcess) -> None:
    async with client_of(replicas) as client:
        response = await client.post(CHAT, json=HELLO)
    assert response.status_code == 200
    assert response.json()["choices"]
    assert replicas.requests[0].fingerprint.prefixes


async def test_refusals_keep_their_form(replicas: InProcess) -> None:
    async with client_of(replicas) as client:
        wrong = await client.post(CHAT, json={"messages": 5})
        unknown = await client.get("/nope")
        large = await client.post(CHAT, content=b"x" * 5000)
    assert [each.status_code for each in (wrong, unknown, large)] == [400, 404, 413]
    assert all(each.json()["error"]["message"] for each in (wrong, unknown, large))


@pytest.mark.parametrize("path", ["/chat/completions", "/v1//chat/completions/"])
async def test_other_names_and_encoded_bodies_are_routed_alike(replicas: InProcess, path: str) -> None:
    async with client_of(replicas) as client:
        await client.post(CHAT, json=HELLO)
        body = gzip.compress(json.dumps(HELLO, separators=(",", ":")).encode())
        response = await client.post(path, content=body, headers={"content-encoding": "gzip"})
        bomb = gzip.compress(b" " * 10**6)
        refused = await client.post(path, content=bomb, headers={"content-encoding": "gzip"})
    assert (response.status_code, refused.status_code) == (200, 413)
    assert replicas.requests[1].path == CHAT
    assert replicas.requests[1].fingerprint == replicas.requests[0].fingerprint


async def test_a_stream_passes_event_by_event(replicas: InProcess) -> None:
    async with client_of(replicas) as client:
        response = await client.post(CHAT, json={**HELLO, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")


async def test_a_replica_that_dies_before_the_answer_is_a_503(replicas: InProcess) -> None:
    replicas.dies_after = 0
    async with client_of(replicas) as client:
        response = await client.post(CHAT, json=HELLO)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == "engine_died"


async def test_one_that_dies_in_a_stream_is_an_event_of_it(replicas: InProcess) -> None:
    replicas.dies_after = 2
    async with client_of(replicas) as client:
        response = await client.post(CHAT, json={**HELLO, "stream": True})
    last = response.text.strip().split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "engine_died"


async def test_one_that_dies_in_a_whole_answer_cuts_the_connection(replicas: InProcess) -> None:
    replicas.dies_after = 1
    async with client_of(replicas) as client:
        with pytest.raises(EngineDiedError):
            await client.post(CHAT, json=HELLO)


async def test_a_disconnect_cancels(replicas: InProcess, engine: FakeEngine) -> None:
    left = asyncio.Event()
    sent: list[Message] = []
    scope: dict[str, Any] = {"type": "http", "method": "POST", "path": CHAT, "query_string": b"", "headers": []}
    bodies = [
        {
            "type": "http.request",
            "body": json.dumps({"messages": [{"role": "user", "content": "forever"}], "stream": True}).encode(),
        }
    ]

    async def receive() -> Message:
        if bodies:
            return bodies.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)
        left.set()

    await asyncio.wait_for(Ingress(replicas, 4096)(scope, receive, send), 10)
    assert sent[0]["status"] == 200
    assert len(engine.cancelled) == 1
    assert not engine.open


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/metrics", 200), ("DELETE", "/v1/requests/unknown", 404), ("DELETE", "/v1/prefixes/unknown", 404)],
)
async def test_requests_for_all_replicas_are_broadcast(
    replicas: InProcess, method: str, path: str, status: int
) -> None:
    async with client_of(replicas) as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert not replicas.requests
    assert path != "/metrics" or 'replica="a"' in response.text


async def test_lifespan(replicas: InProcess) -> None:
    phases: list[Any] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return dict(phases.pop(0))

    async def send(message: Message) -> None:
        sent.append(message)

    await Ingress(replicas, 4096)({"type": "lifespan"}, receive, send)
    assert [each["type"] for each in sent] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
