"""Constraints of the default model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmcore.grammar.constraint import Constraints
from llmcore.llama.model import Model


@pytest.fixture(scope="module")
def compiled(chat_model: Model) -> Iterator[Constraints]:
    made = Constraints(chat_model)
    yield made
    made.close()
