"""Embeddings and scores through the worker: as messages, and computed beside answers in a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from llmcore.errors import (
    ContextLengthError,
    EngineUnavailableError,
    OverloadedError,
    PoisonousError,
    UnsupportedError,
)
from llmcore.messages import Finished, GenerateRequest, PrefixSpec, TextPrompt
from llmcore.protocol.commands import (
    AbandonCommand,
    EmbedCommand,
    RerankCommand,
)
from llmcore.protocol.replies import (
    CallFailedReply,
    VectorsReply,
)
from llmcore.sampling import SamplingParams
from llmcore.worker.client import AsyncEngine
from tests.conftest import exact
from tests.scripted_worker import ScriptedWorker, Stage
from tests.worker.conversation import died, next_worker, options

GREEDY = SamplingParams(temperature=0.0)


async def test_what_is_asked_and_answered(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    asking = asyncio.create_task(engine.embed(["a", [1, 2]], dimensions=2))
    asked = await worker.next(EmbedCommand)
    assert (asked.texts, asked.dimensions) == (("a", (1, 2)), 2)
    worker.send(VectorsReply(asked.call_id, b"12345678" * 2, 2, 5))
    vectors = await asking
    assert (vectors.data, vectors.width, vectors.n_tokens) == (b"12345678" * 2, 2, 5)
    ranking = asyncio.create_task(engine.rerank("q", ["a", "b"]))
    ranked = await worker.next(RerankCommand)
    assert (ranked.query, ranked.documents) == ("q", ("a", "b"))
    worker.send(CallFailedReply(ranked.call_id, "overloaded", "full", None, 7.0))
    with pytest.raises(OverloadedError) as caught:
        await ranking
    assert caught.value.retry_after_s == 7.0


async def test_leaving_abandons(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    asking = asyncio.create_task(engine.embed(["a"]))
    asked = await worker.next(EmbedCommand)
    asking.cancel()
    assert (await worker.next(AbandonCommand)).call_id == asked.call_id
    worker.send(VectorsReply(asked.call_id, b"1234", 1, 1))  # it was on its way
    again = asyncio.create_task(engine.embed(["b"]))
    asked = await worker.next(EmbedCommand)
    worker.send(VectorsReply(asked.call_id, b"abcd", 1, 1))
    assert (await again).data == b"abcd"


async def test_a_poisonous_embedding(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    embedding = asyncio.create_task(engine.embed(["poison"]))
    for _ in range(2):
        await died(engine, worker, (await worker.next(EmbedCommand)).call_id)
        worker = await next_worker(stage, engine)
    with pytest.raises(PoisonousError):
        await embedding
    with pytest.raises(PoisonousError):
        await engine.embed(["poison"])


async def test_embeddings_of_which_one_kills(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    """Both are in the pass at both deaths; then they are computed one at a time."""
    good, bad = (asyncio.create_task(engine.embed([text])) for text in ("good", "bad"))
    for _ in range(2):
        ids = [(await worker.next(EmbedCommand)).call_id, (await worker.next(EmbedCommand)).call_id]
        late = asyncio.create_task(engine.embed(["late"]))
        ids.append((await worker.next(EmbedCommand)).call_id)
        late.cancel()
        await died(engine, worker, *ids)
        worker = await next_worker(stage, engine)
    asked = await worker.next(EmbedCommand)
    assert asked.texts == ("good",)
    worker.send(VectorsReply(asked.call_id, b"1234", 1, 1))
    assert (await good).data == b"1234"
    asked = await worker.next(EmbedCommand)
    assert asked.texts == ("bad",)
    await died(engine, worker, asked.call_id)
    await next_worker(stage, engine)
    with pytest.raises(PoisonousError):
        await bad


@options(n_waiting_max=1, restart_wait_s=0.2)
async def test_few_embeddings_wait_and_not_for_ever(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    await died(engine, worker)
    first = asyncio.create_task(engine.embed(["a"]))
    await asyncio.sleep(0)
    with pytest.raises(EngineUnavailableError, match="restarting"):
        await engine.embed(["b"])
    with pytest.raises(EngineUnavailableError, match="did not come back"):
        await first


# --- In a process -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def pooling(tiny: Callable[..., Path]) -> AsyncIterator[AsyncEngine]:
    """A model that generates, and pools."""
    config = exact(tiny("pooling", pooling_type="mean"), n_ctx=1024, n_slots=2, n_waiting_max=3)
    async with AsyncEngine(config, log_level="warning") as started:
        await started.wait_ready()
        yield started


@pytest.fixture
async def encoder(tiny_bert: Path) -> AsyncIterator[AsyncEngine]:
    async with AsyncEngine(exact(tiny_bert), log_level="warning") as started:
        await started.wait_ready()
        yield started


def rows(vectors: VectorsReply) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.frombuffer(vectors.data, np.float32).reshape(-1, vectors.width)


async def answer(engine: AsyncEngine, name: str) -> str:
    asked = GenerateRequest(
        request_id=name, prompt=TextPrompt("Once"), sampling=GREEDY, max_tokens=200, ignore_eos=True
    )
    return "".join([output.text async for output in await engine.generate(asked)])


async def test_beside_an_answer(pooling: AsyncEngine) -> None:
    texts = [f"word {i} " * 40 for i in range(60)]
    alone = await answer(pooling, "a")
    expected = rows(await pooling.embed(texts))
    answering, embedding = await asyncio.gather(answer(pooling, "b"), pooling.embed(texts))
    assert answering == alone
    np.testing.assert_allclose(rows(embedding), expected, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1.0, atol=1e-5)
    stats = await pooling.stats()
    assert (stats.n_embed_waiting, stats.n_embed_texts) == (0, 120)


async def test_more_than_may_wait_is_refused(pooling: AsyncEngine) -> None:
    texts = ["word " * 400] * 30
    asked = await asyncio.gather(*(pooling.embed(texts) for _ in range(6)), return_exceptions=True)
    refused = [each for each in asked if isinstance(each, BaseException)]
    assert [type(each) for each in refused] == [OverloadedError] * 2


async def test_what_was_abandoned_is_not_computed(pooling: AsyncEngine) -> None:
    asking = asyncio.create_task(pooling.embed(["word " * 400] * 500))
    while not (await pooling.stats()).n_embed_passes:
        await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    while (await pooling.stats()).n_embed_waiting:
        await asyncio.sleep(0.01)
    assert (await pooling.stats()).n_embed_texts < 500


async def test_errors_name_the_text(pooling: AsyncEngine) -> None:
    with pytest.raises(ContextLengthError, match="the model takes 1024") as caught:
        await pooling.embed(["a", "word " * 3000])
    assert caught.value.param == "input[1]"
    with pytest.raises(UnsupportedError):
        await pooling.rerank("a", ["b"])


async def test_an_encoder_is_ready_and_cannot_generate(encoder: AsyncEngine) -> None:
    assert encoder.model is not None
    assert (encoder.model.can_generate, encoder.model.pooling) == (False, "mean")
    assert rows(await encoder.embed(["a", "b"])).shape == (2, 64)
    with pytest.raises(UnsupportedError, match="embeddings only"):
        await answer(encoder, "a")
    with pytest.raises(UnsupportedError, match="embeddings only"):
        await encoder.pin(PrefixSpec(name="a", prompt=TextPrompt("b")))
    assert await encoder.prefixes() == []
    assert await encoder.tokenize("a", add_special=False) == [1037]
    assert msgspec.json.decode(await encoder.inspect())["n_embed_waiting"] == 0


async def test_a_reranker(tiny_reranker: Path) -> None:
    async with AsyncEngine(exact(tiny_reranker), log_level="warning") as engine:
        await engine.wait_ready()
        scores = await engine.rerank("what is a cat", ["a cat is an animal", "the sea"])
        assert (scores.width, len(rows(scores))) == (1, 2)
        with pytest.raises(UnsupportedError, match="ranks documents"):
            await engine.embed(["a"])
        asked = GenerateRequest(request_id="a", prompt=TextPrompt("b"))
        with pytest.raises(UnsupportedError, match="ranks documents only"):
            assert isinstance(await anext(await engine.generate(asked)), Finished)
