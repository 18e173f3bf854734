"""Special tokens, and tokenization that is exact for every vocabulary of the fetched source."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.source import llama_cpp_dir
from llmcore import errors
from llmcore.llama.model import Model

VOCABULARIES = sorted(
    path for path in (llama_cpp_dir() / "models").glob("ggml-vocab-*.gguf") if Path(f"{path}.inp").exists()
)
# Between the texts of an .inp file; its .out file has one line of token ids for each.
SEPARATOR = "\n__ggml_vocab_test__\n"


def test_special_tokens_of_the_default_model(chat_model: Model) -> None:
    end = chat_model.tokenize("<|im_end|>", parse_special=True)
    assert len(end) == 1
    assert chat_model.is_end(end[0])
    assert chat_model.is_control(end[0])
    assert not chat_model.adds_bos
    assert chat_model.eos == end[0]


def test_special_text_is_plain_text_unless_asked_for(chat_model: Model) -> None:
    plain = chat_model.tokenize("<|im_end|>")
    assert len(plain) > 1
    assert chat_model.detokenize(plain) == "<|im_end|>"
    special = chat_model.tokenize("<|im_end|>", parse_special=True)
    assert chat_model.detokenize(special) == ""
    assert chat_model.detokenize(special, unparse_special=True) == "<|im_end|>"
    assert chat_model.token_bytes(special[0]) == b""
    assert chat_model.token_bytes(special[0], special=True) == b"<|im_end|>"


@settings(deadline=None, max_examples=200)
@given(text=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x3FFFF), max_size=200))
def test_a_lossless_tokenizer_gives_the_text_back(chat_model: Model, text: str) -> None:
    # This vocabulary has no token for some control characters, nor for the bytes that UTF-8 beyond U+3FFFF begins with.
    try:
        text.encode()
    except UnicodeEncodeError:
        with pytest.raises(errors.InvalidRequestError, match="not valid Unicode"):
            chat_model.tokenize(text)
        return
    tokens = chat_model.tokenize(text)
    assert chat_model.detokenize(tokens) == text
    assert b"".join(chat_model.token_bytes(token) for token in tokens) == text.encode()


@pytest.mark.parametrize("path", VOCABULARIES, ids=lambda path: path.stem.removeprefix("ggml-vocab-"))
def test_tokenization_is_exact(path: Path) -> None:
    texts = Path(f"{path}.inp").read_text("utf-8").removesuffix(SEPARATOR).split(SEPARATOR)
    expected = [[int(token) for token in line.split()] for line in Path(f"{path}.out").read_text().splitlines()]
    assert len(texts) == len(expected) > 30
    with Model(path, vocab_only=True) as vocabulary:
        for text, tokens in zip(texts, expected, strict=True):
            assert vocabulary.tokenize(text, add_special=False) == tokens, repr(text)
            # The other tokenizers fold spaces, case or unknown characters by nature; byte-level BPE loses nothing. (Some of
            # its models want detokenize() to tidy spaces before punctuation, so the bytes of the tokens are compared.)
            if vocabulary.metadata["tokenizer.ggml.model"] == "gpt2":
                assert b"".join(vocabulary.token_bytes(token, special=True) for token in tokens) == text.encode()


def test_every_vocabulary_of_the_source_is_there() -> None:
    assert len(VOCABULARIES) >= 15


def test_token_ids_outside_the_vocabulary_are_refused(chat_model: Model) -> None:
    for bad in (-1, chat_model.n_vocab):
        for call in (chat_model.token_bytes, chat_model.is_end, chat_model.is_control):
            with pytest.raises(errors.InvalidRequestError, match="not in the vocabulary"):
                call(bad)
        with pytest.raises(errors.InvalidRequestError):
            chat_model.detokenize([1, bad])


def test_long_texts_are_tokenized_whole(chat_model: Model) -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 2000
    tokens = chat_model.tokenize(text)
    assert chat_model.detokenize(tokens) == text
