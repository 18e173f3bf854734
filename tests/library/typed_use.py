"""User code as `mypy --strict` sees it. `make lint` checks it; it is not run."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from typing_extensions import assert_type

from llmcore import LLM, AsyncLLM, AsyncStream, Completion, LlmcoreError, SamplingParams, Stream
from llmcore.library.events import Event

MESSAGES = [{"role": "user", "content": "Hello"}]


@dataclass
class City:
    name: str


def synchronous(llm: LLM, is_streamed: bool) -> None:
    assert_type(llm.generate("a", temperature=0), Completion)
    assert_type(llm.generate([1, 2], SamplingParams()), Completion)
    assert_type(llm.generate("a", stream=True), Stream[str])
    assert_type(llm.generate("a", stream="events"), Stream[Event])
    assert_type(llm.generate("a", stream=is_streamed), Completion | Stream[str])
    assert_type(llm.generate(["a", "b"], [SamplingParams(), None], progress=True), list[Completion])
    assert_type(llm.generate([[1, 2], "b"], n=2, json_schema=City), list[Completion])
    assert_type(llm.generate(["a"], errors="return"), list[Completion | LlmcoreError])
    answer = llm.chat(MESSAGES, max_tokens=5)
    assert_type(answer, Completion)
    assert_type(answer.parse(City), City)
    assert_type(answer.choices, tuple[Completion, ...])
    assert_type(llm.chat([*MESSAGES, answer, {"role": "user", "content": "And?"}]), Completion)
    assert_type(llm.chat([*MESSAGES, answer.message], stream=True), Stream[str])
    assert_type(llm.chat([MESSAGES, MESSAGES], errors="return"), list[Completion | LlmcoreError])
    with llm.chat(MESSAGES, stream=True) as stream:
        for piece in stream:
            assert_type(piece, str)
    assert_type(stream.completion, Completion)


async def asynchronous(llm: AsyncLLM) -> None:
    assert_type(await llm.generate("a"), Completion)
    assert_type(await llm.generate(["a", "b"]), list[Completion])
    assert_type(await llm.chat([MESSAGES], errors="return"), list[Completion | LlmcoreError])
    assert_type(llm.chat(MESSAGES, stream=True), AsyncStream[str])
    answering = llm.chat(MESSAGES)
    _ = assert_type(answering, Coroutine[Any, Any, Completion])
    assert_type(await answering, Completion)
    assert_type(await asyncio.create_task(llm.chat(MESSAGES)), Completion)
    assert_type(await asyncio.gather(llm.chat(MESSAGES), llm.chat(MESSAGES)), tuple[Completion, Completion])
    async for event in llm.chat(MESSAGES, stream="events"):
        assert_type(event, Event)
    async with llm.generate("a", stream=True) as stream:
        async for piece in stream:
            assert_type(piece, str)
    assert_type(await stream.completion(), Completion)


def misspelt(llm: LLM) -> None:
    """Each line is an error of mypy, which `make lint` finds to be none if that changes."""
    llm.generate("a", temprature=0)  # type: ignore[call-overload]
    llm.chat(MESSAGES, tool=[])  # type: ignore[call-overload]
    llm.chat(MESSAGES, suffix="a")  # type: ignore[call-overload]
    llm.generate("a", stream=True, errors="return")  # type: ignore[call-overload]
    llm.render(MESSAGES, temperature=0)  # type: ignore[call-arg]
    LLM(n_cxt=512)  # type: ignore[call-arg]
    LLM(n_ctx="512")  # type: ignore[arg-type]
