"""Embeddings of tiny models: a text's vector does not depend on other texts, and short jobs do not wait for long ones."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from llmcore.batch import Batch
from llmcore.config import EngineConfig
from llmcore.embedding.embedder import PASS_TOKENS, Embedder
from llmcore.embedding.job import EmbeddingResult
from llmcore.embedding.planner import PassPart, TextJob
from llmcore.embedding.queue import EmbeddingQueue
from llmcore.embedding.text_reader import Text
from llmcore.errors import (
    ConfigError,
    ContextLengthError,
    InvalidRequestError,
    OverloadedError,
    UnsupportedError,
)
from llmcore.llama import context
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from tests.embedding.queues import run, vectors
from tests.tiny_models import write_tiny_bert

TEXTS = ["the cat sat", "x", "something else entirely", "größe 日本 🎉", "word " * 200]


def check_company(embeddings: EmbeddingQueue, texts: list[str]) -> None:
    together = vectors(embeddings, list(texts))
    alone = np.concatenate([vectors(embeddings, [text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=2e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert np.abs(together[0] - together[2]).max() > 0.01


@pytest.mark.parametrize("pooling", ["auto", "cls", "last"])
def test_an_encoders_vectors_are_the_same_in_every_company(
    open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path, pooling: str
) -> None:
    embeddings = open_embeddings(tiny_bert, pooling=pooling)
    assert embeddings.pooling == ("mean" if pooling == "auto" else pooling)
    check_company(embeddings, TEXTS)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_decoders_vectors_are_the_same_in_every_company(
    open_embeddings: Callable[..., EmbeddingQueue], tiny_model: Path, pooling: str
) -> None:
    check_company(open_embeddings(tiny_model, n_ctx=1024, pooling=pooling), TEXTS)


def test_token_ids_are_taken_as_they_stand(open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path) -> None:
    embeddings = open_embeddings(tiny_bert)
    tokens = embeddings._reader._model.tokenize(TEXTS[0])
    np.testing.assert_allclose(vectors(embeddings, [tokens]), vectors(embeddings, [TEXTS[0]]), atol=1e-6)
    assert np.abs(vectors(embeddings, [tokens[1:-1]]) - vectors(embeddings, [TEXTS[0]])).max() > 1e-3


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_long_texts_up_to_the_models_context(
    open_embeddings: Callable[..., EmbeddingQueue], tiny: Callable[..., Path], pooling: str
) -> None:
    embeddings = open_embeddings(tiny("plain"), pooling=pooling)
    long = [7 + i % 1000 for i in range(2048)]
    whole = vectors(embeddings, [[5, 6], long, [5, 6]])
    np.testing.assert_allclose(whole[0], whole[2], atol=2e-5)
    n_passes = embeddings.counters.n_embed_passes
    assert n_passes == 2 + 2048 // PASS_TOKENS
    other = vectors(embeddings, [[*long[1:], 5]])
    assert np.abs(whole[1] - other[0]).max() > 1e-4
    with pytest.raises(ContextLengthError, match=r"input\[1\] has 2049 tokens; the model takes 2048") as caught:
        vectors(embeddings, ["a", [*long, 5]])
    assert caught.value.param == "input[1]"


@pytest.mark.parametrize("n_tokens", [63, 65, 513, 1000, 1025])
def test_any_length(open_embeddings: Callable[..., EmbeddingQueue], tmp_path: Path, n_tokens: int) -> None:
    """llama.cpp aborts for most batch sizes with mean pooling of several texts."""
    path = write_tiny_bert(tmp_path / "long.gguf", n_ctx=2048)
    for embeddings in (open_embeddings(path), open_embeddings(path, n_ctx=n_tokens)):
        assert np.isfinite(vectors(embeddings, [[7] * n_tokens])).all()


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_parts_give_what_a_whole_gives(tiny: Callable[..., Path], pooling: str) -> None:
    """And our mean is llama.cpp's."""
    long = [7 + i % 1000 for i in range(1200)]
    batch = Batch(1216)
    batch.add(0, 0, long, wants_logits=True)
    batch.wants_logits[: len(long)] = 1
    with Model(tiny("plain")) as model:
        with closing(Embedder(model, pooling, threads=(1, 1), flash_attn="off")) as embedder:
            embedder.reserve(len(long), "input")
            job = TextJob("a")
            for start in range(0, len(long), 100):
                end = start + 100
                [vector] = embedder.compute([PassPart(job, 0, start, long[start:end], end == len(long))])
        params = ContextParams(n_ctx=1216, n_batch=1216, n_ubatch=1216, embeddings=True, pooling=pooling)
        with Context(model, params) as whole:
            whole.decode(batch)
            np.testing.assert_allclose(vector, whole.embedding(0), rtol=1e-3, atol=1e-3)


def test_growing_in_the_middle_of_a_split_text_loses_nothing(
    open_embeddings: Callable[..., EmbeddingQueue], tiny: Callable[..., Path]
) -> None:
    embeddings = open_embeddings(tiny("plain"), pooling="last")
    first = [7 + i % 1000 for i in range(1500)]
    alone = vectors(embeddings, [first])
    fresh = open_embeddings(tiny("plain"), pooling="last")
    fresh.submit("first", [first])
    fresh.step()
    fresh.submit("second", [[*first, *first[:500]]])
    done = run(fresh)
    assert done["first"].vectors is not None
    np.testing.assert_allclose(done["first"].vectors, alone, atol=2e-5)


def test_a_recurrent_model(open_embeddings: Callable[..., EmbeddingQueue], tiny_recurrent: Path) -> None:
    check_company(open_embeddings(tiny_recurrent, n_ctx=512, n_slots=2, pooling="last"), TEXTS[:4])


def test_a_reranker(open_embeddings: Callable[..., EmbeddingQueue], tiny_reranker: Path) -> None:
    embeddings = open_embeddings(tiny_reranker)
    documents = ["a cat is an animal", "the sea is blue", "harbour"]
    embeddings.submit_pairs("r", "what is a cat", documents)
    together = run(embeddings)["r"]
    assert together.vectors is not None
    assert together.vectors.shape == (3, 1)
    assert len(set(together.vectors[:, 0].tolist())) == 3
    for i, document in enumerate(documents):
        embeddings.submit_pairs("r", "what is a cat", [document])
        alone = run(embeddings)["r"].vectors
        assert alone is not None
        np.testing.assert_allclose(alone[0], together.vectors[i], atol=1e-4)
    embeddings.submit_pairs("r", "what is the sea", documents)
    other = run(embeddings)["r"].vectors
    assert other is not None
    assert np.abs(other - together.vectors).max() > 1e-3
    with pytest.raises(UnsupportedError, match="ranks documents"):
        embeddings.submit("v", ["a"])


# --- What is refused ----------------------------------------------------------------------------------------------------


def test_a_chat_model_says_what_to_do(open_embeddings: Callable[..., EmbeddingQueue], tiny_model: Path) -> None:
    embeddings = open_embeddings(tiny_model, n_ctx=256)
    with pytest.raises(UnsupportedError, match="pooling"):
        embeddings.submit("v", ["a"])
    with pytest.raises(UnsupportedError, match="pooling"):
        embeddings.submit_pairs("v", "a", ["b"])
    assert not embeddings.has_work


def test_bad_texts_are_named(open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path) -> None:
    embeddings = open_embeddings(tiny_bert)
    cases: list[tuple[list[Text], str]] = [
        (["a", [-1]], "input[1]"),
        ([[10**6]], "input"),
        ([[5], []], "input[1]"),
        (["a", "\ud800"], "input[1]"),
        ([], "input"),
    ]
    for texts, named in cases:
        with pytest.raises(InvalidRequestError) as caught:
            vectors(embeddings, texts)
        assert caught.value.param == named
    with pytest.raises(UnsupportedError, match="ranks nothing"):
        embeddings.submit_pairs("v", "a", ["b"])
    assert not embeddings.has_work
    assert len(vectors(embeddings, ["a"])) == 1


def test_a_bad_text_ends_its_job_before_anything_of_it_is_computed(
    open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path
) -> None:
    embeddings = open_embeddings(tiny_bert)
    embeddings.submit("good", ["a"])
    embeddings.submit("bad", [*["word " * 400] * 50, "word " * 600])
    done = run(embeddings)
    assert isinstance(done["bad"].error, ContextLengthError)
    assert done["good"].vectors is not None
    assert embeddings.counters.n_embed_texts == 1


def test_dimensions(open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path) -> None:
    embeddings = open_embeddings(tiny_bert, embed_dimensions="16,32")
    full = vectors(embeddings, ["a"])
    assert vectors(embeddings, ["a"], dimensions=64).shape == (1, 64)
    cut = vectors(embeddings, ["a"], dimensions=16)
    np.testing.assert_allclose(cut, full[:, :16] / np.linalg.norm(full[:, :16]), atol=1e-6)
    for dimensions in (17, 65, 0):
        with pytest.raises(InvalidRequestError, match="16, 32, 64") as caught:
            embeddings.submit("v", ["a"], dimensions=dimensions)
        assert caught.value.param == "dimensions"
    anything = open_embeddings(tiny_bert, embed_dimensions="any")
    assert vectors(anything, ["a"], dimensions=17).shape == (1, 17)
    with pytest.raises(InvalidRequestError, match="1 to 64"):
        anything.submit("v", ["a"], dimensions=65)
    with pytest.raises(ConfigError, match="embed_dimensions"):
        EngineConfig(embed_dimensions="16,")


def test_the_queue_is_bounded(open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path) -> None:
    embeddings = open_embeddings(tiny_bert, n_waiting_max=2, n_waiting_tokens_max=600)
    for i in range(3):
        embeddings.submit(i, ["a"])
    with pytest.raises(OverloadedError, match="3 requests"):
        embeddings.submit(3, ["a"])
    assert len(run(embeddings)) == 3
    embeddings.submit("long", ["word " * 400] * 3)
    embeddings.step()
    embeddings.submit("more", ["a"])
    done = run(embeddings)
    assert done["long"].vectors is not None, "alone, any number of tokens is taken"
    assert isinstance(done["more"].error, OverloadedError)


# --- Many at once -------------------------------------------------------------------------------------------------------


def test_a_question_does_not_wait_for_a_library(
    open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path
) -> None:
    embeddings = open_embeddings(tiny_bert)
    embeddings.submit("library", ["word " * 400] * 40)
    while not embeddings.counters.n_embed_passes:
        embeddings.step()
    embeddings.submit("question", ["why"])
    done: list[EmbeddingResult] = []
    while not done:
        done += embeddings.step()
    assert done[0].id == "question"
    assert embeddings.counters.n_embed_passes < 10


def test_cancelling_ends_what_is_not_computed(open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path) -> None:
    embeddings = open_embeddings(tiny_bert)
    embeddings.submit("library", ["word " * 400] * 40)
    embeddings.submit("other", ["a"])
    while not embeddings.counters.n_embed_passes:
        embeddings.step()
    embeddings.cancel("library")
    embeddings.cancel("library")
    assert set(run(embeddings)) <= {"other"}
    embeddings.submit("unread", ["a"])
    embeddings.cancel("unread")
    assert not embeddings.has_work


def test_beside_answers_passes_are_small(open_embeddings: Callable[..., EmbeddingQueue], tiny_bert: Path) -> None:
    embeddings = open_embeddings(
        tiny_bert, inter_token_low_s=0.001, inter_token_normal_s=0.001, inter_token_high_s=0.001
    )
    embeddings._token_s = 1.0  # a slow machine
    embeddings.submit("v", [[5] * 2] * 20)
    while not embeddings.counters.n_embed_passes:
        embeddings.step(is_busy=True)
    assert embeddings.counters.n_embed_texts == 4, "8 tokens, not 512"


# --- An encoder's engine ------------------------------------------------------------------------------------------------


def test_memory_is_looked_at_before_it_is_taken(
    open_embeddings: Callable[..., EmbeddingQueue], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = open_embeddings(write_tiny_bert(tmp_path / "long.gguf", n_ctx=2048))
    short = vectors(embeddings, [[5, 6]])
    # Room for the context of the start (results of 512 tokens are 65 MB), not for one of 2,048.
    monkeypatch.setattr(context, "memory_available_bytes", lambda: 2**27)
    with pytest.raises(ContextLengthError, match="too little memory"):
        vectors(embeddings, [[7] * 2000])
    np.testing.assert_allclose(vectors(embeddings, [[5, 6]]), short, atol=1e-6)
