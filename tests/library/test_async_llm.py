"""AsyncLLM: the library for asyncio, over a thread of this process or a supervised child."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from llmcore import LLM, AsyncLLM
from llmcore.errors import (
    ClosedError,
    ContextLengthError,
    EngineDiedError,
    InvalidRequestError,
    LlmcoreError,
    ModelFormatError,
    ModelMissingError,
    OverloadedError,
    UnsupportedError,
)
from llmcore.library.events import FinishedEvent, TextEvent

EXACT: dict[str, Any] = {"flash_attn": "off", "cache_type_k": "f32", "cache_type_v": "f32", "n_ctx": 1024, "n_slots": 3}
STORY = "Once upon a time"


@pytest_asyncio.fixture(params=[False, True], ids=["thread", "isolated"])
async def llm(tiny_model: Path, request: pytest.FixtureRequest) -> AsyncIterator[AsyncLLM]:
    async with AsyncLLM(tiny_model, isolated=request.param, **EXACT) as loaded:
        yield loaded


async def until_idle(llm: AsyncLLM) -> None:
    """Waits until the engine has nothing to do."""
    while (stats := await llm.stats()).n_running or stats.n_waiting:
        await asyncio.sleep(0.01)


async def test_prefixes_are_pinned_and_messages_rendered(default_model: Path) -> None:
    system = {"role": "system", "content": "You are a helpful assistant."}
    async with AsyncLLM(default_model, n_ctx=512) as llm:
        assert "helpful assistant" in await llm.render([system])
        pinned = await llm.pin("system", [system])
        assert await llm.pins() == [pinned]
        answer = await llm.chat([system, {"role": "user", "content": "Hello!"}], max_tokens=1)
        assert answer.usage.n_cached >= pinned.n_tokens > 0
        await llm.unpin("system")
        assert await llm.pins() == []
        for call in (llm.pin("a b", "x"), llm.pin("a", 5), llm.unpin(5), llm.render("Hello")):  # type: ignore[arg-type]
            with pytest.raises(InvalidRequestError):
                await call
        assert repr(llm) == f"AsyncLLM('{default_model.name}', ready)"
    assert repr(llm).endswith("closed)")


async def test_answers_are_those_of_llm(llm: AsyncLLM, tiny_model: Path) -> None:
    asked: list[str | list[int]] = [STORY, "The sea is", [5, 6, 7]]
    together = await llm.generate(asked, max_tokens=8, temperature=0)
    with LLM(tiny_model, **EXACT) as other:
        assert [each.text for each in together] == [
            other.generate(each, max_tokens=8, temperature=0).text for each in asked
        ]
    whole = await llm.generate(STORY, max_tokens=8, temperature=0)
    assert (whole.text, whole.token_ids) == (together[0].text, together[0].token_ids)
    several = await llm.generate(STORY, n=2, seed=1, max_tokens=8)
    assert len(several.choices) == 2
    first, second = await llm.generate(["a", "w " * 3000], max_tokens=2, errors="return")
    assert not isinstance(first, LlmcoreError)
    assert isinstance(second, ContextLengthError)
    assert second.index == 1
    with pytest.raises(InvalidRequestError, match="regular expression") as caught:
        await llm.generate(STORY, regex="(")
    assert caught.value.param == "regex"


async def test_streams(llm: AsyncLLM) -> None:
    whole = await llm.generate(STORY, max_tokens=8, temperature=0)
    pieces = [each async for each in llm.generate(STORY, max_tokens=8, temperature=0, stream=True)]
    assert "".join(pieces) == whole.text
    events = [each async for each in llm.generate(STORY, max_tokens=8, temperature=0, stream="events")]
    assert "".join(each.text for each in events if isinstance(each, TextEvent)) == whole.text
    assert isinstance(events[-1], FinishedEvent)
    assert events[-1].completion.token_ids == whole.token_ids
    stream = llm.generate(STORY, max_tokens=8, temperature=0, stream=True)
    assert (await stream.completion()).text == whole.text == stream.text


async def test_leaving_a_loop_cancels(llm: AsyncLLM) -> None:
    async for _ in llm.generate(STORY, max_tokens=900, ignore_eos=True, stream=True):
        break
    await until_idle(llm)
    async with llm.generate(STORY, max_tokens=900, ignore_eos=True, stream=True) as stream:
        await stream.__anext__()
    await until_idle(llm)
    assert [each async for each in stream] == []
    n_generated = (await llm.stats()).n_tokens_generated
    assert n_generated < 900


@pytest.mark.parametrize("prompt", [STORY, [STORY] * 8])
async def test_cancelling_the_task_cancels_the_requests(llm: AsyncLLM, prompt: Any) -> None:
    answering = asyncio.create_task(llm.generate(prompt, max_tokens=900, ignore_eos=True))
    while not (await llm.stats()).n_running:
        await asyncio.sleep(0.01)
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    await until_idle(llm)


async def test_an_error_or_a_callback_ends_a_list(llm: AsyncLLM) -> None:
    def stop(n_done: int, n: int) -> None:
        raise KeyError(n)

    with pytest.raises(KeyError):
        await llm.generate([STORY] * 9, max_tokens=3, progress=stop)
    with pytest.raises(ContextLengthError, match=r"prompt\[1\]"):
        await llm.generate([STORY, "w " * 3000, STORY], max_tokens=900, ignore_eos=True)
    await until_idle(llm)


async def test_tokens(llm: AsyncLLM) -> None:
    tokens = await llm.tokenize(STORY, add_special=False)
    assert await llm.detokenize(tokens) == STORY
    with pytest.raises(UnsupportedError):
        await llm.embed(STORY)


async def test_more_than_may_wait_are_answered_all_the_same(tiny_model: Path) -> None:
    async with AsyncLLM(tiny_model, **EXACT) as llm:
        asked = [llm.generate([4, 5, i], max_tokens=2) for i in range(3 + 64 + 10)]
        assert len(await asyncio.gather(*asked)) == 77
    async with AsyncLLM(tiny_model, n_waiting_max=1, **EXACT) as bounded:
        asked = [bounded.generate([4, 5, i], max_tokens=30, ignore_eos=True) for i in range(20)]
        full = asyncio.gather(*asked, return_exceptions=True)
        while not (await bounded.stats()).n_running:
            await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError):  # the caller asked for it
            await bounded.generate([4, 5], max_tokens=2)
        await full
        assert len(await bounded.generate([[4, 5, i] for i in range(20)], max_tokens=2, errors="return")) == 20


async def test_vectors(tiny_bert: Path, tiny_reranker: Path) -> None:
    async with AsyncLLM(tiny_bert) as encoder:
        rows = await encoder.embed(["the cat sat", "the sea"])
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
        np.testing.assert_allclose(await encoder.embed("the cat sat"), rows[0], atol=1e-6)
        with pytest.raises(InvalidRequestError, match="texts"):
            await encoder.embed(5)  # type: ignore[arg-type]
    async with AsyncLLM(tiny_reranker) as reranker:
        assert (await reranker.rerank("what is a cat", ["an animal", "the sea"])).shape == (2,)


async def test_the_first_call_loads_and_close_ends(tiny_model: Path) -> None:
    llm = AsyncLLM(tiny_model, **EXACT)
    running = asyncio.create_task(llm.generate(STORY, max_tokens=900, ignore_eos=True))
    while llm.engine.model is None or not (await llm.stats()).n_running:
        await asyncio.sleep(0.01)
    await llm.close()
    await llm.close()
    with pytest.raises(LlmcoreError):
        await running
    with pytest.raises(ClosedError):
        await llm.generate(STORY)
    with pytest.raises(ClosedError):
        await llm.tokenize(STORY)


def test_one_event_loop_at_a_time(tiny_model: Path) -> None:
    llm = AsyncLLM(tiny_model, **EXACT)
    assert asyncio.run(_text(llm))
    with pytest.raises(ClosedError, match="event loop"):
        asyncio.run(_text(llm))


async def _text(llm: AsyncLLM) -> str:
    return (await llm.generate(STORY, max_tokens=2)).text


async def test_bad_arguments_are_named_at_once(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError):
        async with AsyncLLM(tmp_path / "none.gguf"):
            pass
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelFormatError):
        async with AsyncLLM(broken):
            pass
    with pytest.raises(InvalidRequestError, match="n_contxt"):
        AsyncLLM(tiny_model, n_contxt=5)  # type: ignore[call-arg]
    with pytest.raises(InvalidRequestError, match="isolated"):
        AsyncLLM(tiny_model, isolated="yes")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequestError, match="stream"):
        AsyncLLM(tiny_model).generate(STORY, stream="no")  # type: ignore[call-overload]


async def test_an_isolated_model_survives_its_process(tiny_model: Path) -> None:
    async with AsyncLLM(tiny_model, isolated=True, **EXACT) as llm:
        stream = llm.generate(STORY, max_tokens=900, ignore_eos=True, stream=True)
        await stream.__anext__()
        os.kill(worker_pid(), signal.SIGKILL)
        with pytest.raises(EngineDiedError):
            await stream.completion()
        assert (await llm.generate(STORY, max_tokens=2)).text
        assert llm.engine.n_restarts == 1


def worker_pid() -> int:
    """Id of the worker among the children of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    [pid] = [each for each in children if b"llmcore.worker.main" in Path(f"/proc/{each}/cmdline").read_bytes()]
    return int(pid)
