"""A small model in parts that tests can change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gguf_mutations import Parts, take_apart
from tests.small_vocabularies import write_small_vocabulary
from tests.tiny_models import write_tiny_llama


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Parts]:
    """small(tokenizer): a llama with a vocabulary of that kind."""
    folder = tmp_path_factory.mktemp("small")
    made: dict[str, Parts] = {}

    def make(tokenizer: str = "llama") -> Parts:
        if tokenizer not in made:
            vocabulary = write_small_vocabulary(folder / f"{tokenizer}.vocabulary.gguf", tokenizer)
            made[tokenizer] = take_apart(write_tiny_llama(folder / f"{tokenizer}.gguf", vocab=vocabulary))
        return made[tokenizer]

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Parts], Path]:
    def make(parts: Parts) -> Path:
        path = tmp_path / "m.gguf"
        path.write_bytes(parts.join())
        return path

    return make
