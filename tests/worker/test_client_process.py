"""AsyncEngine with a real worker process: its answers, its deaths."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from llmcore.config import EngineConfig
from llmcore.errors import (
    ContextLengthError,
    EngineDiedError,
    EngineUnavailableError,
    InvalidRequestError,
    ModelFormatError,
)
from llmcore.messages import ChatPrompt, Finished, GenerateRequest, JsonSchema, Regex, TextPrompt
from llmcore.sampling import SamplingParams
from llmcore.worker.client import AsyncEngine

GREEDY = SamplingParams(temperature=0.0)


@pytest.fixture
async def engine(default_model: Path) -> AsyncIterator[AsyncEngine]:
    async with AsyncEngine(EngineConfig(model_path=str(default_model), n_ctx=4096), log_level="warning") as started:
        await started.wait_ready()
        yield started
    assert not workers(), "the worker ends with its engine"


def workers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [
        each for each in children if each.status() != psutil.STATUS_ZOMBIE and "llmcore.worker.main" in each.cmdline()
    ]


def request(name: str, text: str = "Once upon a time", **details: object) -> GenerateRequest:
    details = {"sampling": GREEDY, "max_tokens": 16} | details
    return GenerateRequest(request_id=name, prompt=TextPrompt(text), **details)  # type: ignore[arg-type]


async def answer(engine: AsyncEngine, asked: GenerateRequest) -> tuple[str, Finished]:
    text, last = "", None
    async for output in await engine.generate(asked):
        text, last = text + output.text, output
    assert isinstance(last, Finished)
    return text, last


async def test_answers_come_piece_by_piece(engine: AsyncEngine) -> None:
    generation = await engine.generate(request("a"))
    assert generation.n_prompt > 0
    outputs = [output async for output in generation]
    assert len(outputs) > 5
    assert isinstance(outputs[-1], Finished)
    assert outputs[-1].usage.n_generated == 16
    await generation.aclose()


async def test_many_at_once(engine: AsyncEngine) -> None:
    answers = await asyncio.gather(
        *(answer(engine, request(str(i), f"The number {i} is", ignore_eos=True)) for i in range(8))
    )
    assert all(last.usage.n_generated == 16 for _, last in answers)
    stats = await engine.stats()
    assert (stats.n_running, stats.n_waiting) == (0, 0)


async def test_chat_is_rendered_by_the_worker(engine: AsyncEngine) -> None:
    raw = b'[{"role": "user", "content": "Hello!"}]'
    asked = GenerateRequest(request_id="a", prompt=ChatPrompt(raw), sampling=GREEDY, max_tokens=8)
    text, _ = await answer(engine, asked)
    assert text


async def test_render(engine: AsyncEngine) -> None:
    messages = b'[{"role": "user", "content": "Hello"}]'
    whole = await engine.render(ChatPrompt(messages))
    begun = await engine.render(ChatPrompt(messages, add_generation_prompt=False))
    assert "Hello" in begun
    assert whole.startswith(begun)
    assert len(whole) > len(begun)
    with pytest.raises(InvalidRequestError):
        await engine.render(ChatPrompt(b'[{"role": 5}]'))


async def test_tokenize_and_detokenize(engine: AsyncEngine) -> None:
    tokens = await engine.tokenize("Hello <|im_end|>")
    assert await engine.detokenize(tokens) == "Hello <|im_end|>"
    assert len(await engine.tokenize("<|im_end|>", parse_special=True)) == 1
    with pytest.raises(InvalidRequestError, match="vocabulary"):
        await engine.detokenize([10**6])


async def test_refusals_are_typed(engine: AsyncEngine) -> None:
    with pytest.raises(ContextLengthError, match="4096") as caught:
        await engine.generate(request("a", "word " * 5000))
    assert caught.value.param == "prompt"
    with pytest.raises(InvalidRequestError):
        await engine.generate(request("b", ""))
    await answer(engine, request("a"))


async def test_closing_a_generation_cancels_it(engine: AsyncEngine) -> None:
    generation = await engine.generate(request("a", max_tokens=4000, ignore_eos=True))
    await anext(generation)
    await generation.aclose()
    await generation.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(generation)
    while (await engine.stats()).n_running:
        await asyncio.sleep(0.01)
    assert (await engine.stats()).n_tokens_generated < 4000


async def test_a_request_cancelled_by_its_id(engine: AsyncEngine) -> None:
    latencies: list[float] = []
    engine.on_cancelled = latencies.append
    generation = await engine.generate(request("a", max_tokens=4000, ignore_eos=True))
    await anext(generation)
    assert await engine.cancel("a")
    outputs = [output async for output in generation]
    assert isinstance(outputs[-1], Finished)
    assert outputs[-1].reason == "cancelled"
    assert len(latencies) == 1
    assert not await engine.cancel("a")


async def test_a_cancelled_task_cancels_its_request_in_prefill(engine: AsyncEngine) -> None:
    async def ask() -> None:
        generation = await engine.generate(request("long", "word " * 3000))
        try:
            await anext(generation)
        finally:
            await generation.aclose()

    task = asyncio.create_task(ask())
    while not (await engine.stats()).n_running:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while (await engine.stats()).n_running:
        await asyncio.sleep(0.01)
    assert (await engine.stats()).n_tokens_prefilled < 3000


@pytest.mark.parametrize("killer", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_a_dead_worker_is_a_clear_error_and_comes_back(engine: AsyncEngine, killer: signal.Signals) -> None:
    generation = await engine.generate(request("a", max_tokens=4000, ignore_eos=True))
    await anext(generation)
    [worker] = workers()
    os.kill(worker.pid, killer)
    with pytest.raises(EngineDiedError):
        async for _ in generation:
            pass
    text, _ = await answer(engine, request("b"))
    assert text, "it waited for the next worker"
    assert engine.n_restarts == 1
    text, _ = await answer(engine, request("c"))
    assert text


async def test_a_model_that_cannot_be_loaded_is_told_and_not_tried_again(tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"not a model")
    async with AsyncEngine(EngineConfig(model_path=str(bad))) as engine:
        with pytest.raises(ModelFormatError):
            await engine.wait_ready()
        assert engine.state == "failed"
        with pytest.raises(EngineUnavailableError, match="could not be loaded"):
            await engine.generate(request("a"))
    assert not workers()


async def test_stop_ends_what_is_running(default_model: Path) -> None:
    engine = AsyncEngine(EngineConfig(model_path=str(default_model), n_ctx=2048), log_level="warning")
    await engine.start()
    await engine.wait_ready()
    generation = await engine.generate(request("a", max_tokens=2000, ignore_eos=True))
    await anext(generation)
    await engine.stop()
    with pytest.raises(EngineUnavailableError, match="stopping"):
        async for _ in generation:
            pass
    assert engine.state == "stopped"
    assert not workers()
    await engine.stop()


async def test_stop_while_loading(default_model: Path) -> None:
    engine = AsyncEngine(EngineConfig(model_path=str(default_model)), log_level="warning")
    await engine.start()
    await asyncio.sleep(0.05)
    await engine.stop()
    assert not workers()
    with pytest.raises(EngineUnavailableError):
        await engine.wait_ready()


async def test_constraints_are_compiled_in_the_worker(engine: AsyncEngine) -> None:
    held, free = await asyncio.gather(
        answer(engine, request("held", constraint=Regex(" [0-9]{4}"), n_logprobs=1)), answer(engine, request("free"))
    )
    assert held[0].strip().isdecimal()
    assert held[1].reason == "stop"
    assert free[0]
    with pytest.raises(InvalidRequestError) as caught:
        await engine.generate(request("bad", constraint=JsonSchema(b'{"items": {"not": {}}}')))
    assert caught.value.param == "constraint.items.not"
