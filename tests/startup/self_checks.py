"""Engines whose self-check can be watched and disturbed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmcore.config import EngineConfig
from llmcore.engine.encoder import open_engine
from llmcore.engine.engine import Engine
from llmcore.llama.context_params import ContextParams
from llmcore.llama.kernels import decide_level
from llmcore.llama.model import Model
from llmcore.startup import self_check
from llmcore.startup.self_check import Floats, compute_logits

needs_kernels = pytest.mark.skipif(decide_level("auto") == 0, reason="there are no kernels for this machine")


def words(model: Model, params: ContextParams) -> str:
    flash = "flash" if params.flash_attn else "plain"
    packed = "packed" if model.packed_bytes else "not packed"
    return f"{flash} {params.cache_type_k}/{params.cache_type_v}, {packed}"


def replace_compute(monkeypatch: pytest.MonkeyPatch, change: Callable[[Model, ContextParams, Floats], Floats]) -> None:
    """Changes logits before they are compared."""

    def compute(model: Model, params: ContextParams) -> Floats:
        return change(model, params, compute_logits(model, params))

    monkeypatch.setattr(self_check, "compute_logits", compute)


def disturbed(logits: Floats, share: float = 0.5) -> Floats:
    noise = np.random.default_rng(1).standard_normal(logits.shape)
    noisy: Floats = (logits + share * logits.std() * noise).astype(np.float32)
    return noisy


def config_of(path: Path, folder: Path, **options: Any) -> EngineConfig:
    small = {"n_ctx": 256, "n_slots": 2, "n_batch": 64, "n_ubatch": 64, "threads": 1}
    return EngineConfig(model_path=str(path), profile_dir=str(folder), **{**small, **options})


def opened(config: EngineConfig) -> Engine:
    engine = open_engine(config)
    assert isinstance(engine, Engine)
    return engine
