"""Outputs of several generations in one stream."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import httpx
import pytest

from llmcore.errors import EngineDiedError
from llmcore.messages import GenerateRequest, TextPrompt
from llmcore_app.answers.merge import Merge
from tests.app.fake_engine import FakeEngine, FakeGeneration, Step, prompt_text
from tests.app.routes.test_chat import events
from tests.app.routes.test_completions import post


async def test_several_prompts_stream_interleaved(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    turns = [asyncio.Event() for _ in range(4)]

    def script(request: GenerateRequest) -> Iterable[Step]:
        own = int(prompt_text(request))
        for turn in (own, own + 2):
            yield turns[turn]
            yield f"{turn}"
            if turn + 1 < len(turns):
                turns[turn + 1].set()

    engine.script = script
    turns[0].set()
    *chunks, done = events((await post(client, prompt=["0", "1"], stream=True)).text)
    assert done == "[DONE]"
    texts = [(each["choices"][0]["index"], each["choices"][0]["text"]) for each in chunks]
    assert [text for text in texts if text[1]] == [(0, "0"), (1, "1"), (0, "2"), (1, "3")]
    assert sorted(each["choices"][0]["index"] for each in chunks if each["choices"][0]["finish_reason"]) == [0, 1]


async def generation(engine: FakeEngine, request_id: str) -> FakeGeneration:
    return await engine.generate(GenerateRequest(request_id=request_id, prompt=TextPrompt("x")))


async def test_an_error_comes_after_the_outputs_before_it() -> None:
    engine = FakeEngine(lambda request: ["a", EngineDiedError("died")])
    merge = Merge([await generation(engine, "0")])
    assert [(index, output.text) for index, output in await merge.next_outputs()] == [(0, "a")]
    with pytest.raises(EngineDiedError):
        await merge.next_outputs()
    await merge.close()


async def test_closing_leaves_no_task_and_no_closed_generation() -> None:
    engine = FakeEngine(lambda request: [asyncio.Event()])
    merge = Merge([await generation(engine, str(number)) for number in range(3)])
    await asyncio.sleep(0)
    await merge.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert len(engine.open) == 3
