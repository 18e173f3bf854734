"""A conversation between an AsyncEngine and a worker that the test plays: what both say most often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmcore.messages import Finished, FinishReason, GenerateRequest, Piece, TextPrompt, Usage
from llmcore.protocol.commands import InspectCommand
from llmcore.protocol.replies import InspectionReply
from llmcore.worker.client import AsyncEngine
from llmcore.worker.generation import Generation
from tests.scripted_worker import ScriptedWorker, Stage

USAGE = Usage(n_prompt=7, n_cached=0, n_generated=1, queue_s=0.0, prefill_s=0.0, decode_s=0.0)


def options(**given: Any) -> pytest.MarkDecorator:
    """Options of EngineConfig for the fixture `engine`."""
    return pytest.mark.parametrize("engine", [given], indirect=True)


async def next_worker(stage: Stage, engine: AsyncEngine) -> ScriptedWorker:
    """The worker that is started next, once it is ready."""
    return await stage.enter_ready(engine)


async def restart(stage: Stage, engine: AsyncEngine, worker: ScriptedWorker) -> ScriptedWorker:
    """Ends a worker. Returns the next one, once it is ready."""
    worker.die()
    following = await stage.enter()
    await following.get_ready()
    await engine.wait_ready()
    return following


def ask(engine: AsyncEngine, name: str, text: str = "x", **details: Any) -> asyncio.Task[Generation]:
    return asyncio.create_task(
        engine.generate(GenerateRequest(request_id=name, prompt=TextPrompt(text or name), **details))
    )


async def accepted(engine: AsyncEngine, worker: ScriptedWorker, name: str, text: str = "x") -> Generation:
    asking = ask(engine, name, text)
    assert await worker.admit() == name
    return await asking


async def begun(engine: AsyncEngine, worker: ScriptedWorker, name: str, text: str = "x") -> Generation:
    generation = await accepted(engine, worker, name, text)
    worker.step(Piece(name, "1", 1))
    await anext(generation)
    return generation


async def died(engine: AsyncEngine, worker: ScriptedWorker, *ids_in_work: str | int) -> None:
    """Ends a worker while it works for these, and waits until the client knows."""
    worker.heartbeat.set_step_ids(ids_in_work)
    worker.die()
    while engine.state == "ready":
        await asyncio.sleep(0)


def finished(name: str, reason: FinishReason = "stop") -> Finished:
    return Finished(name, "", reason, USAGE)


async def read(generation: Generation) -> str:
    return "".join([output.text async for output in generation])


async def until_read(engine: AsyncEngine, worker: ScriptedWorker) -> None:
    """Waits until the client has read what the worker sent. Fails if another command came before."""
    inspecting = asyncio.create_task(engine.inspect())
    worker.send(InspectionReply((await worker.next(InspectCommand)).call_id, b"{}"))
    await inspecting
