"""Models and watched self-checks for the tests of startup."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.startup.self_check import Floats
from tests.startup.self_checks import replace_compute, words


@pytest.fixture(scope="module")
def packed(tiny: Callable[..., Path]) -> Path:
    """A model whose weights our kernels pack."""
    return tiny("checked-q8_0", quant="Q8_0", n_embd=128, n_ff=256, n_ctx=512)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Steps of the self-check in words, in order."""
    seen: list[str] = []

    def look(model: Model, params: ContextParams, logits: Floats) -> Floats:
        seen.append(words(model, params))
        return logits

    replace_compute(monkeypatch, look)
    return seen
