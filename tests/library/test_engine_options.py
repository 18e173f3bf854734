"""Keyword arguments of LLM made into a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmcore.errors import ConfigError, InvalidRequestError, LlmcoreError, ModelMissingError
from llmcore.library.engine_options import engine_config

MODEL = Path("/models/a.gguf")


def test_options_of_any_library() -> None:
    config = engine_config(
        None, {"model_path": b"/m.gguf", "num_ctx": np.int64(512), "n_threads": 2, "use_mmap": False}, {}
    )
    assert (config.model_path, config.n_ctx, config.threads, config.mmap) == ("/m.gguf", 512, 2, False)
    assert engine_config(MODEL, {"n_gpu_layers": -1, "verbose": False}, {}) == engine_config(str(MODEL), {}, {})


def test_openmps_number_of_threads_counts_unless_one_is_given() -> None:
    environ = {"OMP_NUM_THREADS": "3,2"}
    assert engine_config(MODEL, {}, environ).threads == 3
    assert engine_config(MODEL, {"threads": 1}, environ).threads == 1
    assert engine_config(MODEL, {}, {}).threads == 0
    with pytest.raises(ConfigError, match="OMP_NUM_THREADS must be"):
        engine_config(MODEL, {}, {"OMP_NUM_THREADS": "many"})


@pytest.mark.parametrize(
    ("model", "options", "param", "said"),
    [
        (5, {}, "model", "model must be a path, got 5"),
        ("", {}, "model", "an empty one"),
        (MODEL, {"model_path": MODEL}, "model_path", "the same argument"),
        ("a\0b", {}, "model", "is no path"),
        (MODEL, {"n_contxt": 1}, "n_contxt", r"did you mean n_ctx\?"),
        (MODEL, {"n_ctx": 1, "num_ctx": 2}, "num_ctx", "the same argument"),
        (MODEL, {"n_ctx": -1}, "n_ctx", "between 0 and"),
        (MODEL, {"n_ctx": 1.5}, "n_ctx", "must be int, got 1.5"),
        (MODEL, {"threads": 5000}, "threads", "between 0 and 512"),
        (MODEL, {"n_gpu_layers": 20}, "n_gpu_layers", "computes on the CPU"),
        (MODEL, {"tensor_parallel_size": 2}, "tensor_parallel_size", "threads="),
        (MODEL, {"chat_template": 5}, "chat_template", "must be a path"),
    ],
)
def test_what_is_wrong_is_named(model: Any, options: dict[str, Any], param: str, said: str) -> None:
    with pytest.raises(LlmcoreError, match=said) as caught:
        engine_config(model, options, {})
    assert caught.value.param == param
    assert isinstance(caught.value, (InvalidRequestError, ConfigError))


def test_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="llmcore pull"):
        engine_config(None, {}, {"MODEL_DIR": str(tmp_path)})
