"""Passes that fail, or are interrupted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmcore.embedding.queue import EmbeddingQueue
from llmcore.errors import (
    LlmcoreError,
)
from llmcore.llama import context
from tests.embedding.queues import run, vectors


class _Failing:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, parts: object) -> Any:
        raise self.error


def test_a_pass_that_fails_ends_its_jobs_only(
    open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = open_embeddings(tiny_bert)
    embeddings.submit("a", ["a", "b"])
    with monkeypatch.context() as patch:
        patch.setattr(embeddings._embedder, "compute", _Failing(LlmcoreError("no")))
        done = run(embeddings)
    assert str(done["a"].error) == "no"
    assert len(vectors(embeddings, ["a"])) == 1


def test_an_interrupted_pass_is_computed_again_for_those_who_stay(
    open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = open_embeddings(tiny_bert)
    embeddings.interrupt({"b"})  # nothing of it runs: nothing happens
    embeddings.submit("a", ["a"])
    with monkeypatch.context() as patch:
        patch.setattr(embeddings._embedder, "compute", _Failing(context.StepAborted()))
        assert embeddings.step() == []
    assert run(embeddings)["a"].vectors is not None


def test_no_pass_begins_for_those_who_leave(open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path) -> None:
    embeddings = open_embeddings(tiny_bert)
    embeddings.submit("leaves", ["a"])
    embeddings.submit("stays", ["b"])
    embeddings.interrupt({"leaves"})
    assert set(run(embeddings)) == {"stays"}
    assert embeddings.counters.n_embed_texts == 1


def test_it_tells_for_whom_a_pass_is(open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path) -> None:
    embeddings = open_embeddings(tiny_bert)
    told: list[tuple[object, float]] = []
    embeddings.on_pass = lambda ids, seconds: told.append((ids, seconds))
    vectors(embeddings, ["a"])
    embeddings.submit(7, ["b"])
    run(embeddings)
    assert told[-1][0] == frozenset({7})
    assert told[-1][1] > 0
