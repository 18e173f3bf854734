"""Prefixes are pinned, and pinned again by the next worker. The test plays the worker."""

from __future__ import annotations

import asyncio
import logging

import pytest

from llmcore.errors import (
    ContextLengthError,
    EngineDiedError,
    OverloadedError,
    PrefixMissingError,
)
from llmcore.messages import (
    GenerateRequest,
    PrefixInfo,
    PrefixSpec,
    TextPrompt,
)
from llmcore.protocol.commands import (
    CancelCommand,
    GetPrefixesCommand,
    InspectCommand,
    PinCommand,
    UnpinCommand,
)
from llmcore.protocol.replies import (
    CallFailedReply,
    InspectionReply,
    PrefixesReply,
)
from llmcore.worker.client import AsyncEngine
from tests.log_events import event_names
from tests.scripted_worker import ScriptedWorker, Stage
from tests.worker.conversation import accepted, restart, until_read

BOT = PrefixSpec(name="bot", prompt=TextPrompt("You are a bot."))


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
    await accepted(engine, worker, "a")  # its Submit comes first


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
    await accepted(engine, worker, "a")  # its Submit comes first


async def test_a_prefix_that_is_lost_is_told(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    await pin(engine, worker)
    worker = await restart(stage, engine, worker)
    with caplog.at_level(logging.ERROR):
        worker.send(CallFailedReply((await worker.next(PinCommand)).call_id, "overloaded", "no cells"))
        await until_read(engine, worker)
    assert "prefix_lost" in event_names(caplog)


async def test_a_pin_that_cannot_be_sent_again_does_not_keep_the_engine_from_being_ready(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    engine._prefixes._pinned["a"] = PrefixSpec(name="\ud800", prompt=TextPrompt("x"))
    engine._prefixes._pinned["b"] = PrefixSpec(name="b", prompt=TextPrompt("x"))
    worker.die()
    following = await stage.enter()
    await following.get_ready()
    assert (await following.next(PinCommand)).prefix.name == "b"
    await engine.wait_ready()
    assert "prefix_lost" in event_names(caplog)
