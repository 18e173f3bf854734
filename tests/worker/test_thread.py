"""A worker in a thread, behind the client that a worker process has."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from llmcore.engine.engine import Engine
from llmcore.errors import EngineUnavailableError, ModelMissingError
from llmcore.messages import Finished, GenerateRequest, Output, TokensPrompt
from llmcore.worker.client import AsyncEngine
from llmcore.worker.thread import WorkerThread
from tests.conftest import exact


def engine_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "llmcore-engine"]


async def test_it_serves_and_ends_with_its_client(tiny_model: Path) -> None:
    async with AsyncEngine(exact(tiny_model, n_ctx=256, worker_silent_s=0), make_worker=WorkerThread) as engine:
        assert (await engine.wait_ready()).n_ctx == 256
        assert len(engine_threads()) == 1
        generation = await engine.generate(GenerateRequest(request_id="a", prompt=TokensPrompt((3, 4)), max_tokens=4))
        outputs = [output async for output in generation]
        assert isinstance(outputs[-1], Finished)
        assert len(outputs[-1].tokens) == 4
        endless = GenerateRequest(request_id="b", prompt=TokensPrompt((3, 4)), ignore_eos=True)
        running = await engine.generate(endless)
    assert engine_threads() == [], "it ends although a request is running"
    with pytest.raises(EngineUnavailableError):
        [output async for output in running]


async def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    config = exact(tmp_path / "none.gguf", worker_silent_s=0)
    async with AsyncEngine(config, make_worker=WorkerThread) as engine:
        with pytest.raises(ModelMissingError):
            await engine.wait_ready()
    assert engine_threads() == []


async def test_a_thread_that_fails_is_started_again(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with AsyncEngine(exact(tiny_model, n_ctx=256, worker_silent_s=0), make_worker=WorkerThread) as engine:
        await engine.wait_ready()

        def fail_once(engine: Engine) -> list[Output]:
            monkeypatch.undo()
            raise RuntimeError("a bug of ours")

        monkeypatch.setattr(Engine, "step", fail_once)
        generation = await engine.generate(GenerateRequest(request_id="a", prompt=TokensPrompt((3,)), max_tokens=4))
        outputs = [output async for output in generation]
        assert isinstance(outputs[-1], Finished), "its answer had not begun: it is kept for the next worker"
        assert engine.n_restarts == 1
