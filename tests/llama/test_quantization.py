"""Writing a model file in another type of weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.errors import InvalidRequestError, LlmcoreError, ModelError
from llmcore.llama.model import Model
from llmcore.llama.quantization import quantize


def test_a_file_of_another_type_is_written(tiny_model: Path, tmp_path: Path) -> None:
    quantize(tiny_model, tmp_path / "q8.gguf", "Q8_0", threads=1)
    with Model(tmp_path / "q8.gguf") as small, Model(tiny_model) as large:
        assert small.size_bytes < large.size_bytes
        assert small.n_params == large.n_params


def test_unknown_types_and_no_model_files_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="file_type"):
        quantize(tiny_model, tmp_path / "x.gguf", "Q99")
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(ModelError):
        quantize(tmp_path / "text.gguf", tmp_path / "x.gguf", "Q8_0")
    assert not (tmp_path / "x.gguf").exists()


def test_a_failure_leaves_the_old_file_and_gives_the_reason(tiny_model: Path, tmp_path: Path) -> None:
    quantize(tiny_model, tmp_path / "q8.gguf", "Q8_0", threads=1)
    (tmp_path / "x.gguf").write_text("kept")
    with pytest.raises(LlmcoreError, match="requantizing from type q8_0 is disabled"):
        quantize(tmp_path / "q8.gguf", tmp_path / "x.gguf", "Q4_0")
    assert (tmp_path / "x.gguf").read_text() == "kept"
    with pytest.raises(LlmcoreError):
        quantize(tiny_model, tmp_path / "missing" / "x.gguf", "Q8_0")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["q8.gguf", "x.gguf"]
