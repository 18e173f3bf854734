"""/v1/responses and the official `openai` package, over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import (
    FunctionToolParam,
    Response,
    ResponseFormatTextJSONSchemaConfig,
    ResponseFunctionToolCall,
    ResponseInputParam,
    ResponseStreamEvent,
)
from pydantic import BaseModel, TypeAdapter

from llmcore.messages import ChatPrompt, GenerateRequest, JsonSchema
from tests.app.conftest import Running
from tests.app.fake_engine import WORDS, FakeEngine
from tests.app.routes.test_responses import CALLING, events

TEXT = "".join(WORDS)
CLOCK: FunctionToolParam = {"type": "function", "name": "clock", "parameters": {"type": "object"}, "strict": False}
SCHEMA = {"text": {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}, "strict": True}}}
OFF: FunctionToolParam = {"type": "function", "name": "off", "parameters": None, "strict": None}


@pytest.fixture
async def sdk(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def calling_once(request: GenerateRequest) -> Any:
    """Calls a function, and then answers with its result."""
    assert isinstance(request.prompt, ChatPrompt)
    last = json.loads(request.prompt.messages)[-1]
    return [f"It is {last['content']}."] if last["role"] == "tool" else CALLING


async def test_whole(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.responses.create(model="fake", input="Hello!", instructions="Be kind.", metadata={"a": "b"})
    assert (answer.output_text, answer.status, answer.metadata) == (TEXT, "completed", {"a": "b"})
    assert answer.usage is not None
    assert answer.usage.input_tokens_details.cached_tokens == 3


async def test_stream(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model="fake", input="Hello!", stream=True)
    found = [event async for event in stream]
    assert "".join(event.delta for event in found if event.type == "response.output_text.delta") == TEXT
    assert found[-1].type == "response.completed"
    assert [event.sequence_number for event in found] == list(range(len(found)))


async def test_stream_helper(sdk: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    async with sdk.responses.stream(model="fake", input="Hello!", tools=[CLOCK, OFF]) as stream:
        found = [event async for event in stream]
        final = await stream.get_final_response()
    snapshots = [event.snapshot for event in found if event.type == "response.function_call_arguments.delta"]
    assert snapshots == ['{"zone": ', '{"zone": "UTC"}', "{}"]
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call", "function_call"]
    assert final.output_text == "Wait. "


@pytest.mark.parametrize("how", ["items", "dumps", "dicts", "helper"])
async def test_a_round_of_a_tool(sdk: openai.AsyncOpenAI, engine: FakeEngine, how: str) -> None:
    """For each form in which a client can send back the output."""
    engine.script = calling_once
    messages: ResponseInputParam = [{"role": "user", "content": "What time is it?"}]
    if how == "helper":
        async with sdk.responses.stream(model="fake", input=messages, tools=[CLOCK, OFF]) as stream:
            answer: Response = await stream.get_final_response()
    else:
        answer = await sdk.responses.create(model="fake", input=messages, tools=[CLOCK, OFF])
    for item in answer.output:
        sent: Any = item.model_dump() if how in ("dumps", "helper") else item.to_dict() if how == "dicts" else item
        messages.append(sent)
    for item in answer.output:
        if isinstance(item, ResponseFunctionToolCall):
            messages.append({"type": "function_call_output", "call_id": item.call_id, "output": "nine"})
    second = await sdk.responses.create(model="fake", input=messages, tools=[CLOCK, OFF])
    assert second.output_text == "It is nine."


class Zone(BaseModel):
    zone: str


async def test_arguments_are_parsed(sdk: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING[:4]
    tool = openai.pydantic_function_tool(Zone, name="clock")["function"]
    flat: FunctionToolParam = {"type": "function", "strict": True, "name": "clock", "parameters": tool["parameters"]}
    answer = await sdk.responses.parse(model="fake", input="x", tools=[flat, OFF])
    call = answer.output[2]
    assert call.type == "function_call"
    assert call.parsed_arguments == {"zone": "UTC"}
    back: Any = [each.to_dict() for each in answer.output]
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "nine"}
    await sdk.responses.create(model="fake", input=[*back, result])


class Greeting(BaseModel):
    word: str
    n: int


async def test_models_are_parsed(sdk: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    engine.script = lambda request: ['{"word": ', '"Hi", "n": 2}']
    answer = await sdk.responses.parse(model="fake", input="x", text_format=Greeting)
    assert answer.output_parsed == Greeting(word="Hi", n=2)
    constraint = engine.requests[-1].constraint
    assert isinstance(constraint, JsonSchema)
    assert constraint.strict
    assert json.loads(constraint.schema)["required"] == ["word", "n"]
    assert answer.text is not None
    assert isinstance(answer.text.format, ResponseFormatTextJSONSchemaConfig)
    assert answer.text.format.schema_ == json.loads(constraint.schema)
    back: Any = [each.model_dump() for each in answer.output]
    await sdk.responses.parse(model="fake", input=back, text_format=Greeting)


async def test_models_are_parsed_from_a_stream(sdk: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    engine.script = lambda request: ['{"word": ', '"Hi", "n": 2}']
    async with sdk.responses.stream(
        model="fake", input="x", text_format=Greeting, include=["message.output_text.logprobs"], top_logprobs=2
    ) as stream:
        found = [event async for event in stream]
        final = await stream.get_final_response()
    assert final.output_parsed == Greeting(word="Hi", n=2)
    assert [event.parsed for event in found if event.type == "response.output_text.done"] == [final.output_parsed]
    deltas = [event for event in found if event.type == "response.output_text.delta"]
    assert [(delta.snapshot, len(delta.logprobs)) for delta in deltas] == [('{"word": ', 1), (final.output_text, 1)]
    [item] = final.output
    assert item.type == "message"
    assert item.content[0].type == "output_text"
    assert [each.bytes for each in item.content[0].logprobs or ()] == [list(b'{"word": '), list(b'"Hi", "n": 2}')]
    back: Any = [item.model_dump()]
    await sdk.responses.create(model="fake", input=back)


@pytest.mark.parametrize("fields", [SCHEMA, {"text": {"format": {"type": "json_object"}}}], ids=str)
async def test_shapes_of_formats_and_logprobs_are_the_sdk_s(running: Running, fields: dict[str, Any]) -> None:
    body = {"input": "x", "include": ["message.output_text.logprobs"], "top_logprobs": 2, **fields}
    async with httpx.AsyncClient(base_url=running.url) as http:
        whole = (await http.post("/v1/responses", json=body)).json()
        text = (await http.post("/v1/responses", json={**body, "stream": True})).text
    assert whole["output"][0]["content"][0]["logprobs"][0]["top_logprobs"]
    Response.model_validate(whole, strict=True)
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for number, event in enumerate(events(text)):
        found = adapter.validate_python({**event, "sequence_number": number}, strict=True)
        assert not any(each.model_extra for each in getattr(found, "logprobs", ()))


@pytest.mark.parametrize("reason", ["stop", "length"])
async def test_all_shapes_are_the_sdk_s(running: Running, engine: FakeEngine, reason: Any) -> None:
    """The SDK builds its types without validation; this validates them."""
    engine.script = lambda request: CALLING
    engine.reason = reason
    body = {"input": "x", "tools": [CLOCK, OFF], "tool_choice": {"type": "function", "name": "off"}, "metadata": {}}
    async with httpx.AsyncClient(base_url=running.url) as http:
        Response.model_validate((await http.post("/v1/responses", json=body)).json(), strict=True)
        text = (await http.post("/v1/responses", json={**body, "stream": True})).text
        engine.script = lambda request: ["a", RuntimeError()]
        died = (await http.post("/v1/responses", json={"input": "x", "stream": True})).text
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    for number, event in enumerate(events(text) + events(died)):
        found = adapter.validate_python({**event, "sequence_number": number}, strict=True)
        assert found.type == event["type"]


async def test_refusals(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.responses.create(model="fake", input="x", background=True)
    assert (caught.value.param, caught.value.code) == ("background", "unsupported_parameter")


async def test_an_error_in_a_stream_is_raised(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.responses.create(model="fake", input="die", stream=True)
    found: list[Any] = []

    async def read() -> None:
        async for event in stream:
            found.append(event)

    with pytest.raises(openai.APIError) as caught:
        await read()
    assert caught.value.code == "engine_died"
    assert found[-1].type == "response.failed"
    assert found[-1].response.output_text == "I am "


async def test_closing_a_stream_stops_the_engine(sdk: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    stream = await sdk.responses.create(model="fake", input="forever", stream=True)
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    while engine.open:
        await asyncio.sleep(0.01)
    assert len(engine.cancelled) == 1
