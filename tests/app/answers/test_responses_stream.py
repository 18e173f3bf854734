"""/v1/responses, streamed: its events, its ends, and that the engine stops when the client disconnects."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore_app.answers.responses_items import GrowingMessage
from llmcore_app.answers.responses_stream import DeltaTemplate, response_event
from llmcore_app.service.service import Service
from tests.app.answers.test_streamed_answer import Caller, waiting
from tests.app.fake_engine import WORDS, FakeEngine
from tests.app.routes.test_responses import (
    CALLING,
    CLOCK,
    OFF,
    TEXT,
    URL,
    events,
    post,
    streamed,
    without_ids,
    without_times,
)


async def test_stream(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    created, progress, *grown, completed = await streamed(client)
    assert created["type"] == "response.created"
    assert progress == {**created, "type": "response.in_progress"}
    assert (created["response"]["status"], created["response"]["output"]) == ("in_progress", [])
    id = grown[0]["item"]["id"]
    place = {"item_id": id, "output_index": 0, "content_index": 0}
    item = {"type": "message", "id": id, "role": "assistant"}
    part = {"type": "output_text", "annotations": [], "logprobs": []}
    done = {**item, "status": "completed", "content": [{**part, "text": TEXT}]}
    added = {**item, "status": "in_progress", "content": []}
    assert grown == [
        {"type": "response.output_item.added", "output_index": 0, "item": added},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": word, "logprobs": []} for word in WORDS if word),
        {"type": "response.output_text.done", **place, "text": TEXT, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": {**part, "text": TEXT}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]
    assert completed["type"] == "response.completed"
    response = completed["response"]
    assert response["output"] == [done]
    assert {**without_times(response), "output": None, "usage": None, "status": "in_progress"} == {
        **without_times(created["response"]),
        "output": None,
    }
    whole = (await post(client)).json()
    assert without_ids(whole.pop("output")) == without_ids(response.pop("output"))
    assert without_times(whole) == without_times(response)


EVENTS_OF_CALLING = [
    ("created", None),
    ("in_progress", None),
    ("output_item.added", 0),
    ("content_part.added", 0),
    ("reasoning_text.delta", 0),
    ("reasoning_text.delta", 0),
    ("reasoning_text.done", 0),
    ("content_part.done", 0),
    ("output_item.done", 0),
    ("output_item.added", 1),
    ("content_part.added", 1),
    ("output_text.delta", 1),
    ("output_text.done", 1),
    ("content_part.done", 1),
    ("output_item.done", 1),
    ("output_item.added", 2),
    ("function_call_arguments.delta", 2),
    ("function_call_arguments.delta", 2),
    ("function_call_arguments.done", 2),
    ("output_item.done", 2),
    ("output_item.added", 3),
    ("function_call_arguments.delta", 3),
    ("function_call_arguments.done", 3),
    ("output_item.done", 3),
    ("completed", None),
]
THOUGHT = {"type": "reasoning_text", "text": "Let me see."}
WAIT = {"type": "output_text", "text": "Wait. ", "annotations": [], "logprobs": []}
OUTPUT_OF_CALLING = [
    {"type": "reasoning", "status": "completed", "summary": [], "content": [THOUGHT], "encrypted_content": None},
    {"type": "message", "status": "completed", "role": "assistant", "content": [WAIT]},
    {"type": "function_call", "status": "completed", "call_id": "c1", "name": "clock", "arguments": '{"zone": "UTC"}'},
    {"type": "function_call", "status": "completed", "call_id": "c2", "name": "off", "arguments": "{}"},
]


async def test_events_of_tool_calls_and_reasoning(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    found = await streamed(client, tools=[CLOCK, OFF])
    names = [(event["type"].removeprefix("response."), event.get("output_index")) for event in found]
    assert names == EVENTS_OF_CALLING
    assert found[6]["text"] == THOUGHT["text"]
    assert found[7]["part"] == THOUGHT
    assert (found[15]["item"]["arguments"], found[15]["item"]["status"]) == ("", "in_progress")
    assert found[18] == {
        "type": "response.function_call_arguments.done",
        "item_id": found[19]["item"]["id"],
        "output_index": 2,
        "name": "clock",
        "arguments": '{"zone": "UTC"}',
    }


async def test_output_of_tool_calls_and_reasoning(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    found = await streamed(client, tools=[CLOCK, OFF])
    output = found[-1]["response"]["output"]
    assert output == [event["item"] for event in found if event["type"] == "response.output_item.done"]
    assert [item["id"][:3] for item in output] == ["rs_", "msg", "fc_", "fc_"]
    assert without_ids(output) == OUTPUT_OF_CALLING
    assert without_ids((await post(client)).json()["output"]) == OUTPUT_OF_CALLING


@given(st.text(), st.integers(0, 10**6))
def test_any_text_is_one_event(text: str, number: int) -> None:
    item = GrowingMessage("x", 1)
    data = DeltaTemplate(item).fill(text, number)
    event = item.delta(text)
    event.sequence_number = number
    assert data == response_event(event)
    assert data.count(b"\n") == 3
    assert b"\r" not in data


async def test_an_error_after_the_beginning(client: httpx.AsyncClient, engine: FakeEngine, service: Service) -> None:
    *_, delta, failed, error = await streamed(client, input="die")
    assert delta["type"] == "response.output_text.delta"
    assert failed["type"] == "response.failed"
    response = failed["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert [(each["status"], each["content"][0]["text"]) for each in response["output"]] == [("incomplete", "I am ")]
    assert (error["type"], error["code"], error["param"]) == ("error", "engine_died", None)
    assert error["error"]["code"] == "engine_died"
    assert error["message"] == error["error"]["message"] == response["error"]["message"]
    assert b'endpoint="/v1/responses",model="fake",status="503"' in service.metrics.render()
    assert (await post(client, input="die")).status_code == 503


async def test_a_crash_tells_no_secret(client: httpx.AsyncClient) -> None:
    *_, failed, error = await streamed(client, input="crash")
    assert error["code"] == "internal_error"
    assert "secret" not in json.dumps([failed, error])


@pytest.mark.parametrize("stream", [True, False])
async def test_hanging_up_cancels(service: Service, engine: FakeEngine, stream: bool) -> None:
    engine.script = waiting
    caller = Caller(service, stream=stream, path=URL, body={"input": "x", "stream": stream})
    task = asyncio.create_task(caller.call())
    while not engine.open:
        await asyncio.sleep(0)
    caller.left.set()
    await task
    assert len(engine.cancelled) == 1
    assert not engine.open
    assert service.n_active == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_cancelling_by_the_response_s_id(client: httpx.AsyncClient, engine: FakeEngine, stream: bool) -> None:
    engine.script = waiting
    task = asyncio.create_task(post(client, stream=stream))
    while not engine.open:
        await asyncio.sleep(0)
    (id,) = engine.open
    assert id.startswith("resp_")
    assert (await client.delete(f"/v1/requests/{id}")).json()["cancelled"] == 1
    response = await task
    if stream:
        assert events(response.text)[-1]["code"] == "cancelled"
    else:
        assert (response.status_code, response.json()["error"]["code"]) == (409, "cancelled")
