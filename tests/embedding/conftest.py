"""Queues of embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from llmcore.embedding.queue import EmbeddingQueue
from llmcore.engine.encoder import open_engine
from tests.conftest import exact


@pytest.fixture
def open_embeddings() -> Iterator[Callable[..., EmbeddingQueue]]:
    opened = []

    def open_(path: Path, **options: Any) -> EmbeddingQueue:
        engine = open_engine(exact(path, **options))
        opened.append(engine)
        return engine.embeddings

    yield open_
    for engine in opened:
        engine.close()
