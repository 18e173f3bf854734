"""A vocabulary of an odd size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.source import vocabulary
from llmcore.llama.chat import ChatTemplate
from llmcore.llama.model import Model
from tests.families import FAMILIES
from tests.llama.chats import Writer


@pytest.fixture(scope="module")
def odd_model() -> Iterator[Model]:
    """50,257 tokens: no multiple of anything that native code works in."""
    with Model(vocabulary("gpt-2"), vocab_only=True) as model:
        yield model


@pytest.fixture(scope="module")
def templates(default_vocabulary: Model) -> Iterator[dict[str, ChatTemplate]]:
    opened = {family.template: ChatTemplate(default_vocabulary, family.source) for family in FAMILIES}
    yield opened
    for template in opened.values():
        template.close()


@pytest.fixture(scope="module")
def default_vocabulary(default_model: Path) -> Iterator[Model]:
    with Model(default_model, vocab_only=True) as model:
        yield model


@pytest.fixture(scope="module")
def writer(default_vocabulary: Model) -> Iterator[Writer]:
    with Writer(default_vocabulary) as opened:
        yield opened
