"""Options of LLM.embed()."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmcore import LLM
from llmcore.errors import ClosedError, ContextLengthError, InvalidRequestError, UnsupportedError

TEXTS = ["the cat sat", "something else entirely"]


@pytest.fixture(scope="module")
def encoder(tiny_bert: Path) -> Iterator[LLM]:
    with LLM(tiny_bert) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def causal(tiny: Callable[..., Path]) -> Iterator[LLM]:
    with LLM(tiny("pooling", pooling_type="mean"), n_ctx=1024) as loaded:
        yield loaded


def test_vectors_without_normalization_have_the_same_direction(encoder: LLM) -> None:
    plain, unit = encoder.embed(TEXTS, normalize=False), encoder.embed(TEXTS)
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    assert np.abs(lengths - 1).max() > 0.01
    np.testing.assert_allclose(plain / lengths, unit, atol=1e-5)


@pytest.mark.parametrize("kind", ["encoder", "causal"])
def test_vectors_of_tokens_have_the_pooled_one_as_their_mean(kind: str, request: pytest.FixtureRequest) -> None:
    llm: LLM = request.getfixturevalue(kind)
    rows = llm.embed(TEXTS, pooling="none", normalize=False)
    assert [each.shape for each in rows] == [(len(llm.tokenize(text)), llm.model.n_embd) for text in TEXTS]
    means = np.stack([each.mean(axis=0) for each in rows])
    np.testing.assert_allclose(means, llm.embed(TEXTS, normalize=False), atol=1e-4)
    np.testing.assert_allclose(llm.embed(TEXTS[0], pooling="none", normalize=False), rows[0], atol=1e-5)
    units = llm.embed(TEXTS, pooling="none")
    np.testing.assert_allclose(np.linalg.norm(units[0], axis=1), 1.0, atol=1e-5)


def test_a_text_in_several_passes(causal: LLM) -> None:
    tokens = [100 + each * 7 % 300 for each in range(900)]
    rows = causal.embed([tokens, tokens[:5]], pooling="none", normalize=False)
    assert [len(each) for each in rows] == [900, 5]
    np.testing.assert_allclose(rows[0].mean(axis=0), causal.embed([tokens], normalize=False)[0], atol=1e-4)
    np.testing.assert_allclose(rows[0][:5], rows[1], atol=1e-4)


def test_a_chat_model_has_vectors_of_tokens(tiny_model: Path) -> None:
    with LLM(tiny_model, n_ctx=256) as llm:
        assert llm.embed("a b c", pooling="none").shape == (len(llm.tokenize("a b c")), llm.model.n_embd)
        llm.generate("a", max_tokens=2)


def test_a_long_text_is_cut_only_if_asked_and_keeps_its_end_token(encoder: LLM) -> None:
    text = "word " * 2000
    with pytest.raises(ContextLengthError):
        encoder.embed(text)
    n_max, tokens = encoder.engine.embeddings.n_max, encoder.tokenize(text)
    cut = [*tokens[: n_max - 1], tokens[-1]]
    np.testing.assert_allclose(encoder.embed(text, truncate=True), encoder.embed([cut])[0], atol=1e-5)
    np.testing.assert_allclose(encoder.embed([tokens], truncate=True), encoder.embed([tokens[:n_max]]), atol=1e-5)
    assert len(encoder.embed(text, truncate=True, pooling="none")) == n_max
    np.testing.assert_allclose(encoder.embed(TEXTS, truncate=True), encoder.embed(TEXTS), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"normalize": 1}, "normalize"),
        ({"truncate": "yes"}, "truncate"),
        ({"pooling": "mean"}, "pooling"),
        ({"pooling": "none", "dimensions": 4}, "dimensions"),
    ],
)
def test_bad_arguments_are_named(encoder: LLM, options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        encoder.embed("a", **options)
    assert caught.value.param == param


def test_embeddings_of_a_model_that_pools(tiny: Callable[..., Path]) -> None:
    with LLM(tiny("pooling", pooling_type="mean"), n_ctx=256) as loaded:
        rows = loaded.embed(["the cat sat", "the cat sat", "something else entirely"])
        assert rows.shape == (3, loaded.model.n_embd)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
        np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
        assert abs(float(rows[0] @ rows[2])) < 0.999
        np.testing.assert_allclose(loaded.embed("the cat sat"), rows[0], atol=1e-6)
        with pytest.raises(ContextLengthError):
            loaded.embed("word " * 5000)
        with pytest.raises(InvalidRequestError):
            loaded.embed([])


def test_an_encoder_gives_embeddings_and_a_reranker_scores(tiny_bert: Path, tiny_reranker: Path) -> None:
    with LLM(tiny_bert) as encoder:
        rows = encoder.embed(["the cat sat", encoder.tokenize("the cat sat")])
        np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
        with pytest.raises(UnsupportedError, match="embeddings only"):
            encoder.generate("hello")
        with pytest.raises(InvalidRequestError, match=r"texts\[1\]"):
            encoder.embed(["a", [-1]])
    with LLM(tiny_reranker) as reranker:
        assert reranker.rerank("what is a cat", ["an animal", "the sea"]).shape == (2,)
    with pytest.raises(ClosedError):
        encoder.embed("a")


def test_threads_embed_at_the_same_time(tiny_bert: Path) -> None:
    with LLM(tiny_bert) as encoder:
        expected = encoder.embed([f"text {i}" for i in range(4)])
        rows: dict[int, object] = {}
        threads = [threading.Thread(target=lambda i=i: rows.update({i: encoder.embed(f"text {i}")})) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    np.testing.assert_allclose(np.stack([np.asarray(rows[i]) for i in range(4)]), expected, atol=1e-5)


def test_no_embeddings_from_a_chat_model(chatty: LLM) -> None:
    with pytest.raises(UnsupportedError):
        chatty.embed("hello")
