"""The official `openai` package against the service over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest

from llmcore.errors import OverloadedError
from llmcore.messages import FinishReason
from tests.app.conftest import Running
from tests.app.fake_engine import WORDS, FakeEngine

TEXT = "".join(WORDS)


@pytest.fixture
async def sdk(running: Running) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_whole(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(model="fake", messages=[{"role": "user", "content": "Hello!"}])
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 3
    assert answer.usage.model_extra is not None
    assert answer.usage.model_extra["timings"]["ttft_s"] == 0.003


async def test_an_answer_can_be_sent_back(sdk: openai.AsyncOpenAI) -> None:
    first = await sdk.chat.completions.create(model="fake", messages=[{"role": "user", "content": "Hello!"}])
    second = await sdk.chat.completions.create(
        model="fake",
        messages=[
            {"role": "user", "content": "Hello!"},
            first.choices[0].message.model_dump(),  # type: ignore[list-item]
            {"role": "user", "content": "Go on."},
        ],
    )
    assert second.choices[0].message.content == TEXT


async def test_stream(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model="fake",
        messages=[{"role": "user", "content": "Hello!"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == TEXT
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.model_extra is not None
    assert chunks[-1].usage.model_extra["timings"]["restored_tokens"] == 2


async def test_stream_helper(sdk: openai.AsyncOpenAI) -> None:
    async with sdk.chat.completions.stream(model="fake", messages=[{"role": "user", "content": "Hello!"}]) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == TEXT


async def test_completions(sdk: openai.AsyncOpenAI) -> None:
    whole = await sdk.completions.create(model="fake", prompt=["a", "b"])
    assert [choice.text for choice in whole.choices] == [TEXT, TEXT]
    stream = await sdk.completions.create(model="fake", prompt="a", stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream]) == TEXT


async def test_models(sdk: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in sdk.models.list()] == ["fake"]
    assert (await sdk.models.retrieve("fake")).owned_by == "llmcore"


async def test_sync_client(running: Running) -> None:
    def talk() -> list[str]:
        with openai.OpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0) as client:
            whole = client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "Hello!"}])
            stream = client.chat.completions.create(
                model="fake", messages=[{"role": "user", "content": "Hello!"}], stream=True
            )
            return [
                whole.choices[0].message.content or "",
                "".join(chunk.choices[0].delta.content or "" for chunk in stream),
            ]

    assert await asyncio.to_thread(talk) == [TEXT, TEXT]


async def test_bad_request(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.chat.completions.create(model="fake", messages=[{"role": "user", "content": "x"}], n=65)
    assert (caught.value.param, caught.value.code) == ("n", "invalid_value")


async def test_unknown_model(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await sdk.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == "model_not_found"


async def test_overload(running: Running, engine: FakeEngine) -> None:
    engine.refusals = [OverloadedError("full", retry_after_s=0.1)]
    async with openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.RateLimitError):
            await client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "x"}])


@pytest.mark.parametrize("stream", [True, False])
async def test_death_of_the_engine(sdk: openai.AsyncOpenAI, stream: bool) -> None:
    async def talk() -> None:
        answer = await sdk.chat.completions.create(
            model="fake", messages=[{"role": "user", "content": "die"}], stream=stream
        )
        if isinstance(answer, openai.AsyncStream):
            async for _ in answer:
                pass

    with pytest.raises(openai.APIError) as caught:
        await talk()
    assert caught.value.code == "engine_died"


async def test_our_own_fields(sdk: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    await sdk.chat.completions.create(
        model="fake",
        messages=[{"role": "user", "content": "x"}],
        extra_body={"timeout": 5},
        extra_headers={"X-Priority": "high"},
    )
    assert (engine.requests[0].priority, engine.requests[0].timeout_s) == ("high", 5)


@pytest.mark.parametrize(
    ("reason", "kind"), [("timeout", openai.APIStatusError), ("cancelled", openai.ConflictError)], ids=str
)
async def test_what_was_meant_to_end_is_not_sent_again(
    running: Running, engine: FakeEngine, reason: FinishReason, kind: type[openai.APIStatusError]
) -> None:
    engine.reason = reason
    async with openai.AsyncOpenAI(base_url=running.url + "/v1", api_key="none", max_retries=3) as client:
        with pytest.raises(kind) as caught:
            await client.chat.completions.create(model="fake", messages=[{"role": "user", "content": "x"}])
    assert caught.value.code == reason
    assert len(engine.requests) == 1


async def test_closing_a_stream_stops_the_engine(sdk: openai.AsyncOpenAI, engine: FakeEngine) -> None:
    stream = await sdk.chat.completions.create(
        model="fake", messages=[{"role": "user", "content": "forever"}], stream=True
    )
    async for _ in stream:
        break
    await stream.close()
    while engine.open:
        await asyncio.sleep(0.01)
    assert len(engine.cancelled) == 1
