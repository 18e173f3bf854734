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


@pytest.fixture(scope="module")
def constraints(chat_model: Model) -> Iterator[Constraints]:
    made = Constraints(chat_model)
    yield made
    made.close()


@pytest.fixture(scope="module")
def spellings(chat_model: Model) -> dict[int, bytes]:
    """The bytes of plain tokens."""
    return {
        token: chat_model.token_bytes(token)
        for token in range(chat_model.n_vocab)
        if not chat_model.is_control(token) and not chat_model.is_end(token)
    }
