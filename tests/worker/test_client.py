"""AsyncEngine: refusals that are known ahead, and its end. The test plays the worker; see test_client_process.py for a real one."""

from __future__ import annotations

import asyncio

import pytest

from llmcore.config import EngineConfig
from llmcore.errors import (
    EngineUnavailableError,
    OverloadedError,
)
from llmcore.messages import (
    AdmissionRefusal,
    Failed,
    GenerateRequest,
    TextPrompt,
)
from llmcore.protocol.commands import (
    SubmitCommand,
)
from llmcore.protocol.replies import (
    ReadyReply,
    StepReply,
)
from llmcore.worker.client import AsyncEngine
from tests.scripted_worker import MODEL, ScriptedWorker, Stage
from tests.worker.conversation import restart, until_read


async def test_who_would_be_refused_whatever_he_asks_is_refused_without_asking(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    worker.send(StepReply((), (None, AdmissionRefusal("full", 3.0), AdmissionRefusal("full", 4.0))))
    await until_read(engine, worker)
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
    await until_read(engine, worker)
    free = asyncio.ensure_future(engine.generate(GenerateRequest(request_id="c", prompt=TextPrompt("c"))))
    assert await worker.admit() == "c"
    await free


async def test_what_a_dead_worker_refused_its_successor_may_take(
    stage: Stage, engine: AsyncEngine, worker: ScriptedWorker
) -> None:
    worker.send(StepReply((), (AdmissionRefusal("full", 3.0),) * 3))
    await until_read(engine, worker)
    following = await restart(stage, engine, worker)
    asked = asyncio.ensure_future(engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("a"))))
    assert await following.admit() == "a"
    await asked


async def test_when_to_come_back_reaches_the_caller(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    asking = asyncio.create_task(engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("x"))))
    await worker.next(SubmitCommand)
    worker.step(Failed("a", "overloaded", "the queue is full", retry_after_s=2.5))
    with pytest.raises(OverloadedError) as caught:
        await asking
    assert caught.value.retry_after_s == 2.5


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
