"""The process that measures, for real: what it tells, and every way in which it may fail without ending the tuning."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llmcore.config import EngineConfig
from llmcore.encoder import open_engine
from llmcore.engine import Engine
from llmcore.errors import ModelMissingError, UnsupportedError
from llmcore.model import Model
from llmcore.trial_child import TrialChild, TrialFailed
from llmcore.trial_process import measure, waited_s
from llmcore.trials import Candidate, Figures, Job

CANDIDATE = Candidate(
    threads=1,
    threads_batch=1,
    n_batch=128,
    n_ubatch=64,
    blas=False,
    flash_attn=False,
    cache_type_k="f16",
    cache_type_v="f16",
)


def job(path: Path, n_ctx: int = 512, **options: Any) -> Job:
    config = EngineConfig(model_path=str(path), n_ctx=n_ctx, **options)
    return Job(config=config, blas=False, n_ctx=n_ctx, n_slots=5)


@pytest.fixture(scope="module")
def child(tiny_model: Path) -> Iterator[TrialChild]:
    with TrialChild(job(tiny_model)) as made:
        yield made


def ask(child: TrialChild, *, is_full: bool = False, load_s: float = 100, timeout_s: float = 100) -> Figures:
    return child.measure(CANDIDATE, is_full=is_full, load_s=load_s, timeout_s=timeout_s)


def test_figures_come_from_the_process(child: TrialChild) -> None:
    full, brief = ask(child, is_full=True), ask(child)
    assert full.n_cells == 288, "what is left of the context, in whole fills"
    assert full.n_rows == 5
    assert full.cold_token_s is not None
    assert min(full.decode_s, full.rows_s, full.prompt_token_s, full.cold_token_s) > 0
    assert brief.cold_token_s is None


def test_the_default_is_what_an_engine_takes(tiny_model: Path, tmp_path: Path) -> None:
    """Decided in another process, and remembered as at a start: the engine that is opened later has nothing to measure."""
    options: dict[str, Any] = {"profile_dir": str(tmp_path), "n_batch": 128, "threads_batch": 1}
    with TrialChild(job(tiny_model, **options)) as child:
        default = child.default(load_s=100, timeout_s=100)
    (remembered,) = tmp_path.iterdir()
    before = remembered.read_bytes()
    with open_engine(EngineConfig(model_path=str(tiny_model), n_ctx=512, **options)) as engine:
        assert isinstance(engine, Engine)
        params = engine._context.params
    names = ("threads", "threads_batch", "n_batch", "n_ubatch", "flash_attn", "cache_type_k", "cache_type_v")
    assert {name: getattr(default, name) for name in names} == {name: getattr(params, name) for name in names}
    assert not default.blas
    assert remembered.read_bytes() == before


def test_a_candidate_that_cannot_be_is_refused_and_the_process_stays(child: TrialChild) -> None:
    ask(child)
    process = child._process
    with pytest.raises(TrialFailed, match="cache_type_v=q8_0"):
        child.measure(msgspec.structs.replace(CANDIDATE, cache_type_v="q8_0"), is_full=False, load_s=100, timeout_s=100)
    ask(child)
    assert child._process is process


def test_a_process_that_dies_is_one_failure(child: TrialChild) -> None:
    ask(child)
    assert child._process is not None
    os.kill(child._process.pid, signal.SIGKILL)
    with pytest.raises(TrialFailed, match="the process died \\(SIGKILL\\)"):
        ask(child)
    assert ask(child).decode_s > 0, "another one was started"


def test_a_process_that_takes_too_long_is_killed(child: TrialChild) -> None:
    ask(child)
    assert child._process is not None
    pid = child._process.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TrialFailed, match=r"measuring took longer than 0\.1 s"):
        ask(child, timeout_s=0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(TrialFailed, match=r"loading the model took longer than 0\.001 s"):
        ask(child, load_s=0.001)


def test_a_model_that_cannot_be_loaded_is_no_matter_of_candidates(tmp_path: Path) -> None:
    with TrialChild(job(tmp_path / "none.gguf")) as child, pytest.raises(ModelMissingError, match=r"none\.gguf"):
        ask(child)


def test_another_choice_of_blas_is_another_process(child: TrialChild) -> None:
    ask(child)
    before = child._process
    with_blas = msgspec.structs.replace(CANDIDATE, blas=True)
    assert child.measure(with_blas, is_full=False, load_s=100, timeout_s=100).decode_s > 0
    assert child._process is not before
    assert before is not None
    assert before.returncode is not None, "one at a time"


def test_a_state_that_cannot_be_copied_in_parts_is_measured_empty(tiny_recurrent: Path) -> None:
    with Model(tiny_recurrent) as model:
        found = measure(model, job(tiny_recurrent), CANDIDATE, is_full=True)
        assert found.n_cells == 0
        assert found.prompt_token_s > 0


def test_how_long_threads_waited_for_a_cpu(tmp_path: Path) -> None:
    for thread, words in (("7", "12 500000000 3"), ("8", "9 1000000000 1")):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(words)
    (tmp_path / "9").mkdir()
    assert waited_s(tmp_path) == 1.5
    assert waited_s(tmp_path / "none") == 0.0, "not every kernel tells"
    assert waited_s() >= 0.0


def test_a_context_that_is_too_small_is_refused(tiny_model: Path) -> None:
    with Model(tiny_model) as model, pytest.raises(UnsupportedError, match="too small"):
        measure(model, job(tiny_model, n_ctx=64), CANDIDATE, is_full=False)
