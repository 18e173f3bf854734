"""Estimates of memory, against what is allocated."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.errors import NativeError
from llmcore.llama import memory_estimate
from llmcore.llama.context_params import ContextParams, native_params
from llmcore.llama.memory_estimate import estimate_memory
from llmcore.llama.model import Model


def test_large_contexts_are_extrapolated_from_smaller_ones(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Model(tiny_model) as model:
        native = native_params(ContextParams(n_ctx=8192))
        exact = estimate_memory(model.path, model.params, native)
        monkeypatch.setattr(memory_estimate, "_N_CTX_MEASURED", 2048)
        extrapolated = estimate_memory(model.path, model.params, native)
    assert native.n_ctx == 8192
    assert extrapolated.context_bytes == pytest.approx(exact.context_bytes, rel=0.01)
    assert extrapolated.model_bytes == exact.model_bytes


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "none.gguf"
    path.write_bytes(b"none")
    with Model(tiny_model) as model, pytest.raises(NativeError, match="cannot create a context"):
        estimate_memory(str(path), model.params, native_params(ContextParams(n_ctx=256)))
