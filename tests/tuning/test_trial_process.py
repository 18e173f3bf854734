"""The child process that measures: its figures, and failures that must not end the tuning."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore.config import EngineConfig
from llmcore.engine.encoder import open_engine
from llmcore.engine.engine import Engine
from llmcore.errors import ModelMissingError
from llmcore.startup.trial_result import Figures
from llmcore.tuning.trial_messages import TrialJob
from llmcore.tuning.trial_process import TrialFailed, TrialProcess
from tests.tuning.candidates import changed

CANDIDATE = changed(threads=1, threads_batch=1, n_batch=128, n_ubatch=64)


def job(path: Path, n_ctx: int = 512, **options: Any) -> TrialJob:
    config = EngineConfig(model_path=str(path), n_ctx=n_ctx, **options)
    return TrialJob(config=config, n_ctx=n_ctx, n_slots=5)


@pytest.fixture(scope="module")
def process(tiny_model: Path) -> Iterator[TrialProcess]:
    with TrialProcess(job(tiny_model)) as made:
        yield made


def ask(process: TrialProcess, *, load_s: float = 100, timeout_s: float = 100) -> Figures:
    return process.measure(CANDIDATE, load_s=load_s, timeout_s=timeout_s)


def test_figures_come_from_a_process_that_memory_pressure_ends_first(process: TrialProcess) -> None:
    found = ask(process)
    assert found.n_cells == 288, "the rest of the context, in whole fills"
    assert found.n_rows == 5
    assert min(found.decode_s, found.rows_s, found.prompt_token_s, found.cold_token_s) > 0
    assert process._process is not None
    assert Path(f"/proc/{process._process.pid}/oom_score_adj").read_text() == "1000\n"


def test_the_default_is_the_engines_own(tiny_model: Path, tmp_path: Path) -> None:
    """It is decided in the child and kept as at a start: an engine that is opened later measures nothing."""
    options: dict[str, Any] = {"profile_dir": str(tmp_path), "n_batch": 128, "threads_batch": 1}
    with TrialProcess(job(tiny_model, **options)) as process:
        default = process.default(100)
    (remembered,) = tmp_path.iterdir()
    before = remembered.read_bytes()
    with open_engine(EngineConfig(model_path=str(tiny_model), n_ctx=512, **options)) as engine:
        assert isinstance(engine, Engine)
        params = engine._context.params
    assert msgspec.structs.asdict(default) == {name: getattr(params, name) for name in default.__struct_fields__}
    assert remembered.read_bytes() == before


def test_a_candidate_that_the_heads_refuse_fails_and_the_process_stays(process: TrialProcess) -> None:
    ask(process)
    before = process._process
    with pytest.raises(TrialFailed, match="cache_type_v=q8_0"):
        process.measure(msgspec.structs.replace(CANDIDATE, cache_type_v="q8_0"), load_s=100, timeout_s=100)
    ask(process)
    assert process._process is before


def test_a_process_that_dies_is_one_failure(process: TrialProcess) -> None:
    ask(process)
    assert process._process is not None
    os.kill(process._process.pid, signal.SIGKILL)
    with pytest.raises(TrialFailed, match="the process died \\(SIGKILL\\)"):
        ask(process)
    assert ask(process).decode_s > 0, "another one was started"


def test_a_process_that_hangs_is_killed(process: TrialProcess) -> None:
    ask(process)
    assert process._process is not None
    pid = process._process.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TrialFailed, match=r"measuring took longer than 0\.1 s"):
        ask(process, timeout_s=0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(TrialFailed, match=r"loading the model took longer than 0\.001 s"):
        ask(process, load_s=0.001)


def test_a_model_that_cannot_be_loaded_is_no_failure_of_a_candidate(tmp_path: Path) -> None:
    with TrialProcess(job(tmp_path / "none.gguf")) as process, pytest.raises(ModelMissingError, match=r"none\.gguf"):
        ask(process)
