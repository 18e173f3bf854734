"""Tokens of texts, and errors that name the text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.embedding.embedder import Embedder
from llmcore.embedding.text_reader import READ_CHARACTERS, TextReader, place_of
from llmcore.errors import ContextLengthError, InvalidRequestError, UnsupportedError
from llmcore.llama.model import Model


@pytest.fixture
def model(tiny_bert: Path) -> Iterator[Model]:
    with Model(tiny_bert) as model:
        yield model


@pytest.fixture
def reader(model: Model) -> Iterator[TextReader]:
    embedder = Embedder(model, "mean", threads=(1, 1))
    yield TextReader(model, embedder)
    embedder.close()


def test_short_texts_stay_and_are_tokenized_later(reader: TextReader, model: Model) -> None:
    assert reader.read_long(["the cat", [5, 6]], "input") == ["the cat", [5, 6]]
    assert [read() for read in reader.later(["the cat", [5, 6]])] == [model.tokenize("the cat"), [5, 6]]


def test_a_long_text_is_read_at_once(reader: TextReader, model: Model) -> None:
    text = "word " * READ_CHARACTERS
    assert reader.read_long(["short", text], "input") == ["short", model.tokenize(text)]


def test_a_text_that_is_too_long_in_any_case_is_refused_and_named(tiny_model: Path) -> None:
    with Model(tiny_model) as model:
        embedder = Embedder(model, "mean", threads=(1, 1))
        with pytest.raises(ContextLengthError, match=r"input\[1\]: the text has at least") as caught:
            TextReader(model, embedder).read_long(["short", "word " * 10 * READ_CHARACTERS], "input")
        assert caught.value.param == "input[1]"
        embedder.close()


def test_a_token_that_is_not_in_the_vocabulary_is_named(reader: TextReader) -> None:
    (read,) = reader.later([[10**6]])
    with pytest.raises(InvalidRequestError, match="input: token 1000000 is not in the vocabulary"):
        reader.read_named(read, "input", 0, 1)


def test_pairs_need_a_reranker(reader: TextReader, tiny_reranker: Path) -> None:
    with pytest.raises(UnsupportedError, match="ranks nothing"):
        reader.read_pairs("query", ["document"])
    with Model(tiny_reranker) as model:
        embedder = Embedder(model, "rank", threads=(1, 1))
        ranker = TextReader(model, embedder)
        assert ranker.read_pairs("a", ["b"]) == [read() for read in ranker.pairs_later("a", ["b"])]
        embedder.close()


def test_without_an_embedder_it_says_what_to_do(model: Model) -> None:
    with pytest.raises(UnsupportedError, match="option pooling"):
        TextReader(model, None).read_long(["a"], "input")


def test_one_text_needs_no_number() -> None:
    assert (place_of("input", 0, 1), place_of("input", 3, 9)) == ("input", "input[3]")
