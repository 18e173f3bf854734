"""Workers that end, hang or cannot be started are replaced. The test plays the worker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmcore.config import EngineConfig
from llmcore.errors import (
    EngineDiedError,
    EngineUnavailableError,
    ModelLoadDiedError,
)
from llmcore.protocol.replies import (
    LoadFailedReply,
)
from llmcore.worker import supervisor
from llmcore.worker.client import AsyncEngine
from tests.log_events import event_names, events
from tests.scripted_worker import ScriptedWorker, Stage
from tests.worker.conversation import accepted, ask, begun, died, next_worker, options


async def test_a_model_that_cannot_be_loaded_again_is_tried_again(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    worker = await stage.enter()
    worker.send(LoadFailedReply("insufficient_memory", "no memory"))
    worker.die()
    worker = await next_worker(stage, engine)
    assert await worker.admit() == "a"
    await queued.aclose()


async def test_a_first_load_may_die_once(stage: Stage, engine: AsyncEngine) -> None:
    worker = await stage.enter()
    worker.die()
    await next_worker(stage, engine)
    assert engine.state == "ready"


async def test_a_first_load_that_dies_twice_ends_everything_with_its_cause(stage: Stage, engine: AsyncEngine) -> None:
    waiting = asyncio.create_task(engine.wait_ready())
    (await stage.enter()).die()
    worker = await stage.enter()
    asking = ask(engine, "a")
    worker.heartbeat.set_cause("native code aborts: llama-vocab.cpp:1: something")
    worker.die()
    with pytest.raises(ModelLoadDiedError, match=r"2 times: native code aborts: llama-vocab\.cpp:1: something"):
        await waiting
    with pytest.raises(EngineUnavailableError, match="something"):
        await asking
    assert (engine.state, engine.n_restarts) == ("failed", 1)
    with pytest.raises(ModelLoadDiedError):
        await engine.wait_ready()


async def test_a_process_that_cannot_be_started_at_all_ends_everything(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_process(*_: Any) -> Any:
        raise OSError("no more files")

    monkeypatch.setattr(supervisor, "WorkerProcess", make_process)
    async with AsyncEngine(EngineConfig(model_path="/models/scripted.gguf")) as engine:
        with pytest.raises(ModelLoadDiedError, match="OSError: no more files"):
            await asyncio.wait_for(engine.wait_ready(), 5)


async def test_each_death_is_logged_with_its_cause(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    for cause in ("an abort", "another", ""):
        worker.heartbeat.set_cause(cause)
        await died(engine, worker)
        worker = await next_worker(stage, engine)
    causes = [each["cause"] for each in events(caplog, "worker_died")]
    assert causes == ["an abort", "another", "killed (SIGKILL), probably out of memory"]


async def test_pauses_grow(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(supervisor, "RESTART_PAUSE_FIRST_S", 0.1)
    monkeypatch.setattr("llmcore.worker.supervisor.asyncio.sleep", note)
    async with AsyncEngine(EngineConfig(model_path="/models/scripted.gguf", worker_silent_s=0)) as engine:
        worker = await next_worker(stage, engine)
        for _ in range(9):
            worker.die()
            worker = await stage.enter()
    assert [each for each in pauses if each] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


async def test_a_process_that_cannot_be_started_is_tried_again(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError("no more files"), MemoryError()]

    def make_process(*args: Any) -> Any:
        if failures:
            raise failures.pop()
        return stage.process(*args)

    monkeypatch.setattr(supervisor, "WorkerProcess", make_process)
    queued = await accepted(engine, worker, "a")
    await died(engine, worker)
    worker = await next_worker(stage, engine)
    assert await worker.admit() == "a"
    await queued.aclose()
    assert engine.n_restarts == 3


# --- Missed heartbeats ------------------------------------------------------------------------------------------------


@options(worker_silent_s=0.2)
async def test_a_silent_worker_is_replaced(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    running, queued = await begun(engine, worker, "a"), await accepted(engine, worker, "b")
    worker.heartbeat.beat()  # loading is over, and this is the last one
    with pytest.raises(EngineDiedError):
        await anext(running)
    assert "worker_silent" in event_names(caplog)
    worker = await next_worker(stage, engine)
    assert await worker.admit() == "b"
    await queued.aclose()


@options(worker_silent_s=0.1)
async def test_busy_is_not_silent(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    """It has not said that loading is over, or that its step will be short; or it beats."""
    await asyncio.sleep(0.3)
    worker.heartbeat.beat(1000.0)
    await asyncio.sleep(0.3)
    for _ in range(30):
        worker.heartbeat.beat()
        await asyncio.sleep(0.01)
    assert engine.n_restarts == 0
