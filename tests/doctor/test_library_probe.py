"""The native libraries, examined in a child process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.doctor.library_probe import Finding, examine_libraries, probe


def test_a_model_is_reckoned_in_another_process(tiny_model: Path) -> None:
    finding = probe(EngineConfig(model_path=str(tiny_model), n_ctx=512))
    assert finding.error == finding.need_error == ""
    assert finding.build["llama_cpp"]
    assert finding.backends
    assert finding.n_abi > 0
    assert finding.need is not None
    assert finding.need.n_ctx == 512
    assert min(finding.need.model_bytes, finding.need.context_bytes, finding.need.compute_bytes) > 0
    assert finding.need.model_bytes < finding.need.least_bytes <= finding.need.total_bytes


def test_more_cells_need_more(tiny_model: Path) -> None:
    small, large = (examine_libraries(EngineConfig(model_path=str(tiny_model), n_ctx=n)).need for n in (512, 1024))
    assert small is not None
    assert large is not None
    assert large.context_bytes == 2 * small.context_bytes
    assert large.model_bytes == small.model_bytes


def test_what_cannot_be_reckoned(tmp_path: Path) -> None:
    finding = examine_libraries(EngineConfig(model_path=str(tmp_path / "none.gguf")))
    assert finding.need is None
    assert "none.gguf" in finding.need_error
    assert examine_libraries(EngineConfig()).need_error == ""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -ILL $$", "SIGILL"),
        ("echo 'cannot import' >&2; exit 3", "status 3: cannot import"),
        ("echo nonsense", "status 0"),
    ],
)
def test_whatever_the_process_does_is_told(tmp_path: Path, script: str, said: str) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    finding = probe(EngineConfig(), python=str(python))
    assert finding == Finding(error_code="native_library", error=f"loading them ended a process with {said}")


def test_the_interpreter_is_ours() -> None:
    assert probe(EngineConfig(), python=sys.executable).error == ""
