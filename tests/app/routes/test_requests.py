"""DELETE /v1/requests/{id}."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import httpx
import pytest

from llmcore.messages import GenerateRequest
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine, Step
from tests.app.routes.test_chat import HELLO, URL, events


def waiting(request: GenerateRequest) -> Iterable[Step]:
    return ["a", asyncio.Event()]


async def open_requests(engine: FakeEngine, n: int) -> list[str]:
    while len(engine.open) < n:
        await asyncio.sleep(0)
    return sorted(engine.open)


def asked(client: httpx.AsyncClient, *, id: str | None = None, **fields: object) -> asyncio.Task[httpx.Response]:
    headers = {"x-request-id": id} if id else {}
    return asyncio.create_task(client.post(URL, json={**HELLO, **fields}, headers=headers))


@pytest.mark.parametrize("stream", [False, True])
async def test_by_the_answer_s_id(client: httpx.AsyncClient, engine: FakeEngine, stream: bool) -> None:
    engine.script = waiting
    task = asked(client, stream=stream)
    other = asked(client, stream=stream)
    id, _ = await open_requests(engine, 2)
    reply = await client.delete(f"/v1/requests/{id}")
    assert reply.status_code == 200
    assert reply.json() == {"id": id, "object": "request", "cancelled": 1}
    done, _ = await asyncio.wait((task, other), return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1, "nobody else is touched"
    response = done.pop().result()
    error = events(response.text)[-1]["error"] if stream else response.json()["error"]
    assert error["code"] == "cancelled"
    assert response.status_code == (200 if stream else 409)
    await client.delete(f"/v1/requests/{(await open_requests(engine, 1))[0]}")
    await asyncio.gather(task, other)


async def test_by_the_caller_s_id_all_of_it(client: httpx.AsyncClient, engine: FakeEngine, service: Service) -> None:
    engine.script = waiting
    mine = [asked(client, id="call-1") for _ in range(2)]
    await open_requests(engine, 2)
    assert (await client.delete("/v1/requests/call-1")).json()["cancelled"] == 2
    assert {response.status_code for response in await asyncio.gather(*mine)} == {409}
    assert (await client.delete("/v1/requests/call-1")).status_code == 404


async def test_a_request_of_several_prompts_is_one(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = waiting
    task = asyncio.create_task(client.post("/v1/completions", json={"prompt": ["a", "b", "c"]}))
    first, *_ = await open_requests(engine, 3)
    id = first.removesuffix("-0")
    assert id.startswith("cmpl-")
    assert (await client.delete(f"/v1/requests/{id}")).json()["cancelled"] == 1
    assert (await task).status_code == 409
    assert not engine.open


async def test_before_admission(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.admission = asyncio.Event()
    task = asked(client, id="call-1")
    while not engine.requests:
        await asyncio.sleep(0)
    assert (await client.delete("/v1/requests/call-1")).json()["cancelled"] == 1
    engine.admission.set()
    assert (await task).status_code == 409


async def test_nothing_alive(client: httpx.AsyncClient) -> None:
    answer = (await client.post(URL, json=HELLO, headers={"x-request-id": "call-1"})).json()
    for id in ("call-1", answer["id"], "nobody"):
        response = await client.delete(f"/v1/requests/{id}")
        assert response.status_code == 404
        error = response.json()["error"]
        assert (error["code"], error["param"]) == ("request_missing", "id")


async def test_refused_requests_leave_nothing_behind(
    client: httpx.AsyncClient, engine: FakeEngine, service: Service
) -> None:
    engine.state = "restarting"
    assert (await client.post(URL, json=HELLO, headers={"x-request-id": "call-1"})).status_code == 503
    assert await service.in_flight.cancel("call-1") == 0
    assert not service.in_flight._requests
