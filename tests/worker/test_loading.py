"""Loads that fail, in a real worker process: the client learns why."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from llmcore.config import EngineConfig
from llmcore.errors import (
    EngineUnavailableError,
    InsufficientMemoryError,
    ModelError,
    ModelLoadDiedError,
)
from llmcore.messages import (
    GenerateRequest,
    TextPrompt,
)
from llmcore.worker import process as child
from llmcore.worker.client import AsyncEngine
from tests.log_events import name_of


def workers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [
        each for each in children if each.status() != psutil.STATUS_ZOMBIE and "llmcore.worker.main" in each.cmdline()
    ]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AsyncEngine]:
    """An engine whose worker's loading fails so: an exception, an abort or a signal."""

    def make(how: str) -> AsyncEngine:
        monkeypatch.setattr(child, "WORKER", "tests.load_failures")
        monkeypatch.setenv("LOAD_FAILURE", how)
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        return AsyncEngine(EngineConfig(model_path="/models/some.gguf"))

    return make


@pytest.mark.parametrize(
    ("how", "kind", "cause"),
    [
        ("OSError", ModelError, "No space left on device"),
        ("RuntimeError", ModelError, "RuntimeError: Could not determine home directory"),
        ("UnicodeEncodeError", ModelError, "surrogates not allowed"),
        ("MemoryError", InsufficientMemoryError, "MemoryError"),
        ("TypeError", ModelError, "expected str, got \ufffd"),
    ],
)
async def test_any_exception_in_loading_is_told_at_once(
    failing: Callable[[str], AsyncEngine], how: str, kind: type[ModelError], cause: str
) -> None:
    async with failing(how) as engine:
        with pytest.raises(kind, match=cause):
            await engine.wait_ready()
        assert (engine.state, engine.n_restarts) == ("failed", 0)


@pytest.mark.parametrize(
    ("how", "cause"),
    [
        ("abort", r"native code aborts: llama\.cpp:5: fatal: no such thing"),
        ("SIGSEGV", "SIGSEGV"),
        ("SIGABRT", "SIGABRT"),
        ("SIGKILL", "probably out of memory"),
    ],
)
async def test_a_load_that_dies_twice_fails(
    failing: Callable[[str], AsyncEngine], how: str, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with failing(how) as engine:
        with pytest.raises(ModelLoadDiedError, match=f"2 times: .*{cause}"):
            await engine.wait_ready()
        assert (engine.state, engine.n_restarts) == ("failed", 1)
        with pytest.raises(EngineUnavailableError, match="could not be loaded"):
            await engine.generate(GenerateRequest(request_id="a", prompt=TextPrompt("x")))
    assert [name_of(each) for each in caplog.records if each.levelname == "ERROR"] == ["worker_died"] * 2
    assert all(re.search(cause, each.__dict__["event_fields"]["cause"]) for each in caplog.records)
    assert not workers()
