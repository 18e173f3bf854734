"""AsyncEngine and what it says to its worker: requests, cancels, prefixes. The test plays the worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import msgspec
import pytest

from llmcore.config import EngineConfig
from llmcore.errors import (
    ContextLengthError,
    EngineDiedError,
    EngineUnavailableError,
    OverloadedError,
    PrefixMissingError,
    RequestCancelledError,
    RequestTimeoutError,
)
from llmcore.messages import (
    Accepted,
    AdmissionRefusal,
    Failed,
    Finished,
    FinishReason,
    GenerateRequest,
    Piece,
    PrefixInfo,
    PrefixSpec,
    TextPrompt,
    Usage,
)
from llmcore.protocol.commands import (
    CancelCommand,
    GetPrefixesCommand,
    InspectCommand,
    PinCommand,
    SubmitCommand,
    UnpinCommand,
)
from llmcore.protocol.framing import frame
from llmcore.protocol.replies import CallFailedReply, InspectionReply, PrefixesReply, ReadyReply, StepReply
from llmcore.worker.client import AsyncEngine
from llmcore.worker.generation import Generation
from tests.scripted_worker import MODEL, ScriptedWorker, Stage, scripted_stage

USAGE = Usage(n_prompt=7, n_cached=0, n_generated=1, queue_s=0.0, prefill_s=0.0, decode_s=0.0)
BOT = PrefixSpec(name="bot", prompt=TextPrompt("You are a bot."))


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    with scripted_stage(monkeypatch) as stage:
        yield stage


@pytest.fixture
async def engine(stage: Stage) -> AsyncIterator[AsyncEngine]:
    async with AsyncEngine(EngineConfig(model_path="/models/scripted.gguf")) as started:
        yield started


@pytest.fixture
async def worker(stage: Stage, engine: AsyncEngine) -> ScriptedWorker:
    return await stage.enter_ready(engine)


async def restart(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> ScriptedWorker:
    worker.die()
    following = await stage.enter()
    await following.get_ready()
    await engine.wait_ready()
    return following


async def generate(engine: AsyncEngine, worker: ScriptedWorker, name: str = "a") -> Generation:
    starting = asyncio.create_task(engine.generate(GenerateRequest(request_id=name, prompt=TextPrompt("x"))))
    assert await worker.admit() == name
    return await starting


def finished(name: str, reason: FinishReason = "stop") -> Finished:
    return Finished(name, "", reason, USAGE)


async def until_read(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    """Until the client has read what the worker sent."""
    inspecting = asyncio.create_task(engine.inspect())
    worker.send(InspectionReply((await worker.next(InspectCommand)).call_id, b"{}"))
    await inspecting


# --- Requests ---------------------------------------------------------------------------------------------------------


async def test_who_would_be_refused_whatever_he_asks_is_refused_without_asking(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    worker.send(StepReply((), (None, AdmissionRefusal("full", 3.0), AdmissionRefusal("full", 4.0))))
    await engine_heard(engine, worker)
    for priority, retry_after_s in (("normal", 3.0), ("low", 4.0)):
        with pytest.raises(OverloadedError, match="full") as caught:
            await engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("a"), priority=priority))  # type: ignore[arg-type]
        assert caught.value.retry_after_s == retry_after_s
    urgent = asyncio.ensure_future(
        engine.generate(GenerateRequest(request_id="b", prompt=TextPrompt("b"), priority="high"))
    )
    assert await worker.admit() == "b", "nothing was sent for the others"
    await urgent
    worker.send(StepReply(()))
    await engine_heard(engine, worker)
    free = asyncio.ensure_future(engine.generate(GenerateRequest(request_id="c", prompt=TextPrompt("c"))))
    assert await worker.admit() == "c"
    await free


async def test_what_a_dead_worker_refused_its_successor_may_take(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    worker.send(StepReply((), (AdmissionRefusal("full", 3.0),) * 3))
    await engine_heard(engine, worker)
    following = await restart(stage, engine, worker)
    asked = asyncio.ensure_future(engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("a"))))
    assert await following.admit() == "a"
    await asked


async def engine_heard(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    """Until what was sent before is known to the engine."""
    asked = asyncio.ensure_future(engine.inspect())
    call = await worker.next(InspectCommand)
    worker.send(InspectionReply(call.call_id, b"{}"))
    await asked


async def test_outputs_of_one_message_reach_their_requests(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    first, second = await generate(engine, worker, "a"), await generate(engine, worker, "b")
    worker.step(Piece("a", "1", 1), Piece("b", "2", 1), Piece("nobody", "3", 1))
    worker.step(finished("b"), Piece("a", "4", 1))
    worker.step(finished("a", "length"))
    assert [output.text async for output in first] == ["1", "4", ""]
    assert [output.text async for output in second] == ["2", ""]
    assert first.n_prompt == 7


async def test_when_to_come_back_reaches_the_caller(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    asking = asyncio.create_task(engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("x"))))
    await worker.next(SubmitCommand)
    worker.step(Failed("a", "overloaded", "the queue is full", retry_after_s=2.5))
    with pytest.raises(OverloadedError) as caught:
        await asking
    assert caught.value.retry_after_s == 2.5


async def test_a_failure_in_the_middle(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    generation = await generate(engine, worker)
    worker.step(Piece("a", "1", 1), Failed("a", "timeout", "too late"))
    assert (await anext(generation)).text == "1"
    with pytest.raises(RequestTimeoutError, match="too late"):
        await anext(generation)
    with pytest.raises(StopAsyncIteration):
        await anext(generation)


async def test_frames_in_any_portions(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    generation = await generate(engine, worker)
    encoder = msgspec.msgpack.Encoder()
    pieces = [StepReply((Piece("a", text, 1),)) for text in ("one", "two" * 50_000, "three")]
    data = b"".join(frame(each, encoder) for each in (*pieces, StepReply((finished("a"),))))
    for start, end in ((0, 1), (1, 3), (3, 4), (4, 70_000), (70_000, len(data))):
        worker.writer.write(data[start:end])
        await worker.writer.drain()
        await asyncio.sleep(0)
    assert [output.text async for output in generation] == ["one", "two" * 50_000, "three", ""]


async def test_a_worker_that_cannot_be_understood_is_replaced(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    generation = await generate(engine, worker)
    worker.step(Piece("a", "begun", 1))
    worker.writer.write((2**31).to_bytes(4, "little"))
    assert (await anext(generation)).text == "begun"
    with pytest.raises(EngineDiedError):
        await anext(generation)
    await (await stage.enter()).get_ready()
    await engine.wait_ready()
    assert engine.n_restarts == 1
    assert "worker_garbled" in caplog.messages


async def test_ready_comes_too_late_after_stop(stage: Stage) -> None:
    engine = AsyncEngine(EngineConfig(model_path="/models/scripted.gguf"))
    await engine.start()
    worker = await stage.enter()
    await asyncio.sleep(0)
    stopping = asyncio.create_task(engine.stop())
    worker.send(ReadyReply(MODEL))
    await stopping
    assert engine.state == "stopped"
    with pytest.raises(EngineUnavailableError):
        await engine.wait_ready()


# --- Cancelling -------------------------------------------------------------------------------------------------------


async def test_cancel_by_id(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    latencies: list[float] = []
    engine.on_cancelled = latencies.append
    generation = await generate(engine, worker)
    assert await engine.cancel("a")
    assert await engine.cancel("a"), "it is alive until the engine has ended it"
    assert not await engine.cancel("nobody")
    assert await worker.next(CancelCommand) == CancelCommand("a")
    worker.step(Piece("a", "late", 1))
    assert (await anext(generation)).text == "late"
    assert latencies == []
    worker.step(finished("a", "cancelled"))
    last = await anext(generation)
    assert isinstance(last, Finished)
    assert last.reason == "cancelled"
    assert len(latencies) == 1
    assert latencies[0] > 0
    assert not await engine.cancel("a")
    await generation.aclose()
    await until_read(engine, worker)  # and no second Cancel came before this


async def test_leaving_cancels_and_is_measured(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    latencies: list[float] = []
    engine.on_cancelled = latencies.append
    generation = await generate(engine, worker)
    worker.step(Piece("a", "1", 1))
    await generation.aclose()
    await generation.aclose()
    assert not await engine.cancel("a"), "nobody reads it"
    assert await worker.next(CancelCommand) == CancelCommand("a")
    worker.step(Piece("a", "2", 1))
    await until_read(engine, worker)
    assert latencies == []
    with pytest.raises(ValueError, match="in use"):
        await engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("x")))
    worker.step(finished("a", "cancelled"))
    await until_read(engine, worker)
    assert len(latencies) == 1
    again = await generate(engine, worker, "a")
    worker.step(finished("a"))
    assert [output async for output in again] == [finished("a")], "nothing of the old one"
    assert len(latencies) == 1, "an ordinary end is no cancel"


async def test_a_caller_who_leaves_before_admission(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    latencies: list[float] = []
    engine.on_cancelled = latencies.append
    asking = asyncio.create_task(engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("x"))))
    await worker.next(SubmitCommand)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert await worker.next(CancelCommand) == CancelCommand("a")
    worker.step(Accepted("a", 7), finished("a", "cancelled"))
    await until_read(engine, worker)
    assert len(latencies) == 1


async def test_death_is_no_cancel(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    latencies: list[float] = []
    engine.on_cancelled = latencies.append
    generation = await generate(engine, worker)
    await engine.cancel("a")
    worker = await restart(stage, engine, worker)
    with pytest.raises(RequestCancelledError):
        await anext(generation)
    again = await generate(engine, worker, "a")
    worker.step(finished("a"))
    assert [output async for output in again] == [finished("a")]
    assert latencies == []


# --- Prefixes and inspection ------------------------------------------------------------------------------------------


async def pin(engine: AsyncEngine, worker: ScriptedWorker, spec: PrefixSpec = BOT) -> PrefixInfo:
    pinning = asyncio.create_task(engine.pin(spec))
    answer(worker, await worker.next(PinCommand))
    return await pinning


def answer(worker: ScriptedWorker, call: PinCommand) -> None:
    worker.send(PrefixesReply(call.call_id, (PrefixInfo(name=call.prefix.name, n_tokens=9, is_computed=True),)))


async def test_pin_list_unpin_inspect(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    info = await pin(engine, worker)
    assert info == PrefixInfo(name="bot", n_tokens=9, is_computed=True)
    listing = asyncio.create_task(engine.prefixes())
    worker.send(PrefixesReply((await worker.next(GetPrefixesCommand)).call_id, (info,)))
    assert await listing == [info]
    unpinning = asyncio.create_task(engine.unpin("bot"))
    worker.send(PrefixesReply((await worker.next(UnpinCommand)).call_id, ()))
    await unpinning
    inspecting = asyncio.create_task(engine.inspect())
    worker.send(InspectionReply((await worker.next(InspectCommand)).call_id, b'{"slots": []}'))
    assert await inspecting == b'{"slots": []}'


async def test_pins_outlive_the_worker(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    await pin(engine, worker, PrefixSpec(name="bot", prompt=TextPrompt("older")))
    await pin(engine, worker)
    for _ in range(2):
        worker = await restart(stage, engine, worker)
        asking = asyncio.create_task(engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("x"))))
        call = await worker.next(PinCommand)
        assert call.prefix == BOT
        answer(worker, call)
        await worker.admit()
        generation = await asking
        await generation.aclose()
        await worker.next(CancelCommand)


async def test_what_was_unpinned_or_refused_does_not_come_back(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    await pin(engine, worker)
    refused = asyncio.create_task(engine.pin(PrefixSpec(name="long", prompt=TextPrompt("x"))))
    worker.send(CallFailedReply((await worker.next(PinCommand)).call_id, "context_length_exceeded", "9 > 5", "prompt"))
    with pytest.raises(ContextLengthError):
        await refused
    for failure in (None, "prefix_missing"):
        unpinning = asyncio.create_task(engine.unpin("bot"))
        id = (await worker.next(UnpinCommand)).call_id
        worker.send(CallFailedReply(id, failure, "there is none") if failure else PrefixesReply(id, ()))
        if failure:
            with pytest.raises(PrefixMissingError):
                await unpinning
        else:
            await unpinning
    worker = await restart(stage, engine, worker)
    await generate(engine, worker)  # its Submit comes first


async def test_a_refused_replacement_leaves_what_was_there(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    await pin(engine, worker)
    refused = asyncio.create_task(engine.pin(PrefixSpec(name="bot", prompt=TextPrompt("too long"))))
    worker.send(CallFailedReply((await worker.next(PinCommand)).call_id, "overloaded", "no cells"))
    with pytest.raises(OverloadedError):
        await refused
    worker = await restart(stage, engine, worker)
    assert (await worker.next(PinCommand)).prefix == BOT


async def test_a_pin_that_its_caller_did_not_wait_for(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    pinning = asyncio.create_task(engine.pin(BOT))
    call = await worker.next(PinCommand)
    pinning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pinning
    answer(worker, call)
    await until_read(engine, worker)
    worker = await restart(stage, engine, worker)
    assert (await worker.next(PinCommand)).prefix == BOT


async def test_a_pin_that_kills_is_not_tried_again(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    pinning = asyncio.create_task(engine.pin(BOT))
    await worker.next(PinCommand)
    worker = await restart(stage, engine, worker)
    with pytest.raises(EngineDiedError):
        await pinning
    await generate(engine, worker)  # its Submit comes first


async def test_a_prefix_that_is_lost_is_told(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    await pin(engine, worker)
    worker = await restart(stage, engine, worker)
    with caplog.at_level(logging.ERROR):
        worker.send(CallFailedReply((await worker.next(PinCommand)).call_id, "overloaded", "no cells"))
        await until_read(engine, worker)
    assert "prefix_lost" in caplog.messages
