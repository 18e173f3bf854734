"""Ends of requests: cancelled, left, and kept or ended when the worker is gone. The test plays the worker."""

from __future__ import annotations

import asyncio
import logging

import msgspec
import pytest

from llmcore.config import EngineConfig
from llmcore.errors import (
    EngineDiedError,
    EngineUnavailableError,
    InvalidRequestError,
    RequestCancelledError,
    RequestTimeoutError,
)
from llmcore.messages import (
    Accepted,
    Finished,
    GenerateRequest,
    Piece,
    TextPrompt,
)
from llmcore.protocol.commands import (
    CancelCommand,
    ConfigureCommand,
    SubmitCommand,
)
from llmcore.protocol.replies import (
    LoadingReply,
)
from llmcore.worker.client import AsyncEngine
from llmcore.worker.request_table import RequestTable
from tests.scripted_worker import ScriptedWorker, Stage
from tests.worker.conversation import (
    accepted,
    ask,
    begun,
    died,
    finished,
    next_worker,
    options,
    read,
    restart,
    until_read,
)


async def test_what_had_begun_ends_and_the_rest_is_run_by_the_next(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    running = await begun(engine, worker, "a")
    queued = await accepted(engine, worker, "b")
    asking = ask(engine, "c")
    await worker.next(SubmitCommand)
    await died(engine, worker, "a")
    with pytest.raises(EngineDiedError):
        await anext(running)
    late = ask(engine, "d")
    worker = await next_worker(stage, engine)
    for name in ("b", "c", "d"):
        assert await worker.admit() == name
        worker.step(Piece(name, f"{name}!", 1), finished(name))
    assert await read(queued) == "b!", "and it is not told again that it was accepted"
    assert await read(await asking) == "c!"
    assert await read(await late) == "d!"
    assert engine.n_restarts == 1


async def test_kept_while_worker_after_worker_dies_in_loading(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    for _ in range(3):
        worker = await stage.enter()
        await worker.next(ConfigureCommand)
        worker.send(LoadingReply(0.5))
        worker.die()
    worker = await next_worker(stage, engine)
    assert await worker.admit() == "a"
    worker.step(finished("a"))
    await read(queued)
    assert engine.n_restarts == 4


async def test_a_kept_request_can_be_cancelled_or_left(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    latencies: list[float] = []
    engine.on_cancelled = latencies.append
    first, second = await accepted(engine, worker, "a"), await accepted(engine, worker, "b")
    await died(engine, worker)
    third = ask(engine, "c")
    await asyncio.sleep(0)
    assert await engine.cancel("a")
    assert not await engine.cancel("a")
    with pytest.raises(RequestCancelledError):
        await anext(first)
    await second.aclose()
    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await third
    assert len(latencies) == 3
    worker = await next_worker(stage, engine)
    await until_read(engine, worker)  # no Submit came before


async def test_who_has_left_is_not_run_again(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    generation = await accepted(engine, worker, "a")
    await generation.aclose()
    await worker.next(CancelCommand)
    await died(engine, worker)
    worker = await next_worker(stage, engine)
    await until_read(engine, worker)


@options(n_waiting_max=2)
async def test_only_so_many_may_wait(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    queued = await accepted(engine, worker, "kept")
    await died(engine, worker)
    waiting = [ask(engine, name) for name in ("a", "b")]
    await asyncio.sleep(0)
    with pytest.raises(EngineUnavailableError, match="2 requests wait"):
        await ask(engine, "c")
    worker = await next_worker(stage, engine)
    for name in ("kept", "a", "b"):
        assert await worker.admit() == name
    for each in [queued, *[await task for task in waiting]]:
        await each.aclose()


@options(restart_wait_s=0.05)
async def test_nobody_waits_longer_than_the_option_says(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    with pytest.raises(EngineUnavailableError, match="did not come back within"):
        await anext(queued)
    with pytest.raises(EngineUnavailableError, match="did not come back within"):
        await ask(engine, "b")
    await until_read(engine, await next_worker(stage, engine))


@options(restart_wait_s=0)
async def test_waiting_can_be_turned_off(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    with pytest.raises(EngineDiedError):
        await anext(queued)
    with pytest.raises(EngineUnavailableError, match="restarting"):
        await ask(engine, "b")
    await until_read(engine, await next_worker(stage, engine))


async def test_a_requests_own_timeout_goes_on(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> None:
    await died(engine, worker)
    with pytest.raises(RequestTimeoutError, match=r"0\.05"):
        await ask(engine, "a", timeout_s=0.05)
    asking = ask(engine, "b", timeout_s=1000.0)
    await asyncio.sleep(0.02)
    worker = await next_worker(stage, engine)
    submitted = (await worker.next(SubmitCommand)).request
    assert submitted.timeout_s is not None
    assert submitted.timeout_s < 999.99
    worker.step(Accepted("b", 1))
    await (await asking).aclose()


async def test_stop_ends_what_is_kept(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    await engine.stop()
    with pytest.raises(EngineUnavailableError, match="stopping"):
        await anext(queued)


async def test_what_cannot_be_sent_again_ends_and_is_not_kept(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever keeps the encoder from it."""
    asking = asyncio.create_task(engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("x"))))
    await worker.next(SubmitCommand)
    entry = engine._requests._entries["a"]
    entry.request = msgspec.structs.replace(entry.request, tenant="\ud800")
    worker.die()
    following = await stage.enter()
    await following.get_ready()
    with pytest.raises(InvalidRequestError, match="cannot be sent"):
        await asking
    other = asyncio.create_task(engine.generate(GenerateRequest(request_id="b", prompt=TextPrompt("x"))))
    assert await following.admit() == "b"
    await other
    assert engine.n_restarts == 1


def test_a_request_table_ends_what_its_sender_refuses() -> None:
    async def ask() -> None:
        def send(_: object) -> None:
            raise OverflowError("too large")

        table = RequestTable(EngineConfig(model_path="/m.gguf"), send, lambda _: None)
        table.resume()
        generation = table.submit(GenerateRequest(request_id="a", prompt=TextPrompt("x")))
        with pytest.raises(InvalidRequestError, match="too large"):
            await generation.accepted()
        assert not table.cancel("a")

    logging.getLogger("asyncio").setLevel(logging.WARNING)
    asyncio.run(ask())


# --- Cancelling -------------------------------------------------------------------------------------------------------


async def test_cancel_by_id(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    latencies: list[float] = []
    engine.on_cancelled = latencies.append
    generation = await accepted(engine, worker, "a")
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
    generation = await accepted(engine, worker, "a")
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
    again = await accepted(engine, worker, "a")
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
    generation = await accepted(engine, worker, "a")
    await engine.cancel("a")
    worker = await restart(stage, engine, worker)
    with pytest.raises(RequestCancelledError):
        await anext(generation)
    again = await accepted(engine, worker, "a")
    worker.step(finished("a"))
    assert [output async for output in again] == [finished("a")]
    assert latencies == []
