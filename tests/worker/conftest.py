"""An AsyncEngine whose worker is played by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmcore.config import EngineConfig
from llmcore.worker.client import AsyncEngine
from tests.scripted_worker import ScriptedWorker, Stage, scripted_stage


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    with scripted_stage(monkeypatch) as stage:
        yield stage


@pytest.fixture
async def engine(stage: Stage, request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    """Options of its configuration are given by conversation.options()."""
    options: dict[str, Any] = getattr(request, "param", {})
    async with AsyncEngine(EngineConfig(model_path="/models/scripted.gguf", **options)) as started:
        yield started


@pytest.fixture
async def worker(stage: Stage, engine: AsyncEngine) -> ScriptedWorker:
    return await stage.enter_ready(engine)
