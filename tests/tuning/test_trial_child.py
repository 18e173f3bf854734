"""Measuring a candidate, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.errors import UnsupportedError
from llmcore.llama.model import Model
from llmcore.tuning.trial_child import measure, waited_s
from llmcore.tuning.trial_messages import TrialJob
from tests.tuning.candidates import changed

CANDIDATE = changed(threads=1, threads_batch=1, n_batch=128, n_ubatch=64)


def job(path: Path, n_ctx: int) -> TrialJob:
    return TrialJob(config=EngineConfig(model_path=str(path)), n_ctx=n_ctx, n_slots=5)


def test_a_state_that_cannot_be_copied_in_parts_is_measured_empty(tiny_recurrent: Path) -> None:
    with Model(tiny_recurrent) as model:
        found = measure(model, job(tiny_recurrent, 512), CANDIDATE)
    assert found.n_cells == 0
    assert found.prompt_token_s > 0


def test_a_context_that_is_too_small_is_refused(tiny_model: Path) -> None:
    with Model(tiny_model) as model, pytest.raises(UnsupportedError, match="too small"):
        measure(model, job(tiny_model, 64), CANDIDATE)


def test_time_that_threads_waited_for_a_cpu(tmp_path: Path) -> None:
    for thread, words in (("7", "12 500000000 3"), ("8", "9 1000000000 1")):
        (tmp_path / thread).mkdir()
        (tmp_path / thread / "schedstat").write_text(words)
    (tmp_path / "9").mkdir()
    assert waited_s(tmp_path) == 1.5
    assert waited_s(tmp_path / "none") == 0.0, "not every kernel has it"
    assert waited_s() >= 0.0
