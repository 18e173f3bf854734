"""Models that several modules of tests/library use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore import LLM


@pytest.fixture(scope="module")
def chatty(default_model: Path) -> Iterator[LLM]:
    with LLM(default_model, n_ctx=2048) as loaded:
        yield loaded
