"""Results of queues."""

from __future__ import annotations

from typing import Any

from llmcore.embedding.job import EmbeddingResult, Vectors
from llmcore.embedding.queue import EmbeddingQueue
from llmcore.embedding.text_reader import Text


def run(embeddings: EmbeddingQueue) -> dict[object, EmbeddingResult]:
    """All jobs to their ends."""
    done: list[EmbeddingResult] = []
    while embeddings.has_work:
        done += embeddings.step()
    return {each.id: each for each in done}


def vectors(embeddings: EmbeddingQueue, texts: list[Text], **details: Any) -> Vectors:
    embeddings.submit("v", texts, **details)
    done = run(embeddings)["v"]
    if done.error is not None:
        raise done.error
    assert done.vectors is not None
    return done.vectors
