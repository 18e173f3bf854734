"""Our vectors of a real model against those that numpy computes from the same package's weights and tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llmcore import LLM
from llmcore.errors import ContextLengthError, UnsupportedError
from tests.minilm import MiniLM, package

TEXTS = [
    "Hello",
    "The library opens at 9 in the morning.",
    "don't stop-believing (1981), $5.00 #x @y …",
    "Größe, naïve café, résumé, Łódź",
    "e\u0301 combining, ﬁ ligature, ①②",
    "日本語のテキストです。",
    "Привет, мир! Как дела?",
    "Ελλάδα Αθήνα",
    "مرحبا بالعالم",
    "🎉🎉 party",
    "  spaces\t\nand\u0000 lines\u200b\r\n ",
    "seagulls circle the harbour at dawn " * 40,
    "word " * 255,
    "x " * 510,  # with both ends the 512 tokens that the model knows positions for
]


@pytest.fixture(scope="module")
def llm(minilm: Path) -> Iterator[LLM]:
    with LLM(minilm) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def source(minilm: Path) -> MiniLM:
    return MiniLM(package())


def test_vectors_agree(llm: LLM, source: MiniLM) -> None:
    ours = llm.embed(TEXTS)
    assert ours.shape == (len(TEXTS), 384)
    assert ours.dtype == np.float32
    for text, vector in zip(TEXTS, ours, strict=True):
        assert llm.tokenize(text) == source.tokenizer.encode(text).ids
        assert float(vector @ source.embed(text)) >= 0.999, text[:40]


def test_alone_and_as_token_ids(llm: LLM, source: MiniLM) -> None:
    together = llm.embed(TEXTS)
    for text, vector in zip(TEXTS, together, strict=True):
        assert float(llm.embed(text) @ vector) > 0.99999
    by_ids = llm.embed([source.tokenizer.encode(text).ids for text in TEXTS])
    np.testing.assert_allclose(by_ids, together, atol=5e-4)  # weights of F16 round by what shares a pass


def test_what_it_is_good_for(llm: LLM) -> None:
    opens, sea, when = llm.embed(["The library opens at 9.", "The sea is blue today.", "When does the library open?"])
    assert float(when @ opens) > 0.6 > 0.3 > float(when @ sea)


def test_its_limits_are_told(llm: LLM) -> None:
    with pytest.raises(ContextLengthError, match="513 tokens; the model takes 512"):
        llm.embed("x " * 511)
    with pytest.raises(UnsupportedError, match="embeddings only"):
        llm.generate("Hello")
    with pytest.raises(UnsupportedError, match="ranks nothing"):
        llm.rerank("a", ["b"])


def test_scripts_whose_marks_llama_cpp_reads_differently(llm: LLM, source: MiniLM) -> None:
    """Known: llama.cpp's WordPiece drops all marks, of which BERT keeps those that take room (vowels of Devanagari), and the
    vowels of Hangul. If this fails, upstream has mended it: the texts belong into the list above then."""
    for text in ("한국어", "हिन्दी"):
        assert llm.tokenize(text) != source.tokenizer.encode(text).ids
