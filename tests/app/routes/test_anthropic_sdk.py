"""Anthropic's API and the official `anthropic` package, over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic.types import Message, MessageParam, ModelInfo, RawMessageStreamEvent, ToolParam
from pydantic import TypeAdapter

from llmcore.messages import ChatPrompt, GenerateRequest
from tests.app.conftest import Running
from tests.app.fake_engine import WORDS, FakeEngine
from tests.app.routes.test_anthropic import HELLO, URL, events
from tests.app.routes.test_responses import CALLING

TEXT = "".join(WORDS)
QUESTION: list[MessageParam] = [{"role": "user", "content": "Hello!"}]
CLOCK: ToolParam = {"name": "clock", "input_schema": {"type": "object"}}


@pytest.fixture
async def sdk(running: Running) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=running.url, api_key="none", max_retries=0) as client:
        yield client


def calling_once(request: GenerateRequest) -> Any:
    """Calls a function, and then answers with its result."""
    assert isinstance(request.prompt, ChatPrompt)
    last = json.loads(request.prompt.messages)[-1]
    return [f"It is {last['content']}."] if last["role"] == "tool" else CALLING


async def test_whole(sdk: anthropic.AsyncAnthropic) -> None:
    answer = await sdk.messages.create(model="fake", max_tokens=50, messages=QUESTION, system="Be kind.")
    assert [block.text for block in answer.content if block.type == "text"] == [TEXT]
    assert (answer.stop_reason, answer.usage.cache_read_input_tokens) == ("end_turn", 3)
    assert answer._request_id


async def test_the_types_accept_every_reply(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    Message.model_validate((await client.post(URL, json=HELLO)).json(), strict=True)
    stream = await client.post(URL, json={**HELLO, "stream": True})
    kinds: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    for event in events(stream.text):
        if event["type"] != "ping":
            kinds.validate_python(event, strict=True)
    models = await client.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
    for card in models.json()["data"]:
        ModelInfo.model_validate_json(json.dumps(card), strict=True)


async def test_stream_helper(sdk: anthropic.AsyncAnthropic, engine: FakeEngine) -> None:
    engine.script = lambda request: CALLING
    async with sdk.messages.stream(model="fake", max_tokens=50, messages=QUESTION, tools=[CLOCK]) as stream:
        found = [event async for event in stream]
        final = await stream.get_final_message()
    assert [event.partial_json for event in found if event.type == "input_json"] == ['{"zone": ', '"UTC"}', "{}"]
    calls = [block for block in final.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"zone": "UTC"}, {}]
    assert (final.stop_reason, final.usage.input_tokens) == ("tool_use", 4)


@pytest.mark.parametrize("is_dict", [False, True])
async def test_a_round_of_a_tool(sdk: anthropic.AsyncAnthropic, engine: FakeEngine, is_dict: bool) -> None:
    engine.script = calling_once
    answer = await sdk.messages.create(model="fake", max_tokens=50, messages=QUESTION, tools=[CLOCK])
    content: Any = [block.model_dump() for block in answer.content] if is_dict else answer.content
    results = [
        {"type": "tool_result", "tool_use_id": block.id, "content": "nine"}
        for block in answer.content
        if block.type == "tool_use"
    ]
    messages: Any = [*QUESTION, {"role": "assistant", "content": content}, {"role": "user", "content": results}]
    last = await sdk.messages.create(model="fake", max_tokens=50, messages=messages, tools=[CLOCK])
    assert [block.text for block in last.content if block.type == "text"] == ["It is nine."]


async def test_count_tokens_and_models(sdk: anthropic.AsyncAnthropic) -> None:
    assert (await sdk.messages.count_tokens(model="fake", messages=QUESTION)).input_tokens > 0
    (model,) = (await sdk.models.list()).data
    assert (model.id, model.display_name, model.type) == ("fake", "fake", "model")
    assert (await sdk.models.retrieve("fake")).created_at.tzinfo is not None
    with pytest.raises(anthropic.NotFoundError):
        await sdk.models.retrieve("claude")


async def test_errors_are_typed(sdk: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        await sdk.messages.create(model="claude", max_tokens=5, messages=QUESTION)
    assert missing.value.type == "not_found_error"
    assert missing.value.request_id
    with pytest.raises(anthropic.BadRequestError):
        await sdk.messages.create(model="fake", max_tokens=0, messages=QUESTION)
    stream = await sdk.messages.create(
        model="fake", max_tokens=5, messages=[{"role": "user", "content": "die"}], stream=True
    )
    with pytest.raises(anthropic.APIStatusError) as died:
        async for _ in stream:
            pass
    assert died.value.type == "overloaded_error"
