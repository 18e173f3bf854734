"""Vocabularies that fail llama.cpp's assertions: repaired or refused, without a crash."""

from __future__ import annotations

import logging
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.source import llama_cpp_dir
from llmcore import LLM
from llmcore.errors import ModelError, ModelFormatError
from llmcore.gguf.vocabulary_checks import PRE_WITHOUT_BOS
from llmcore.llama.model import Model
from tests.gguf_mutations import Entry, Parts
from tests.gguf_variations import BOOL, having, number, text
from tests.log_events import event_names, events
from tests.small_vocabularies import TOKENIZERS
from tests.tiny_models import write_tiny_bert

Small = Callable[..., Parts]
Write = Callable[[Parts], Path]

NONE = 2**32 - 1  # an id that no vocabulary has, which llama.cpp takes for none
FLAGS = [number(f"tokenizer.ggml.add_{name}_token".encode(), 1, BOOL) for name in ("bos", "eos", "sep")]


def lost(*names: str) -> list[Entry]:
    return [number(f"tokenizer.ggml.{name}_token_id".encode(), NONE) for name in names]


def renamed(parts: Parts, before: bytes, after: bytes) -> Parts:
    """With another text of the same length for a token."""
    assert len(before) == len(after)
    tokens = next(each for each in parts.entries if each.key == b"tokenizer.ggml.tokens")
    length = struct.pack("<Q", len(before))
    return having(parts, Entry(tokens.key, tokens.type, tokens.value.replace(length + before, length + after, 1)))


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_each_tokenizer_reads_and_writes(tokenizer: str, small: Small, write: Write) -> None:
    with Model(write(small(tokenizer))) as model:
        assert model.detokenize(model.tokenize("he", add_special=False)).strip() == "he"


@pytest.mark.parametrize("tokenizer", ["gpt2", "t5", "rwkv", "plamo2"])
@pytest.mark.parametrize("names", [("bos",), ("eos",), ("bos", "eos")])
def test_flags_for_tokens_that_are_not_there(
    tokenizer: str, names: tuple[str, ...], small: Small, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(having(small(tokenizer), *FLAGS, *lost(*names)))
    with Model(path) as model:
        tokens = model.tokenize("he")
        assert tokens
        assert not (model.bos is None and model.adds_bos)
        assert not (model.eos is None and model.adds_eos)
    mended = [each["key"] for each in events(caplog, "vocabulary_mended")]
    if tokenizer == "gpt2":
        assert mended == [f"tokenizer.ggml.add_{name}_token" for name in names]


def test_glm_4_is_served_without_bos(small: Small, write: Write, caplog: pytest.LogCaptureFixture) -> None:
    """Its pre-tokenizer takes the default away, and its files say that BOS be added."""
    parts = having(
        small("gpt2"), text(b"tokenizer.ggml.pre", b"glm4"), FLAGS[0], without=("tokenizer.ggml.bos_token_id",)
    )
    with caplog.at_level(logging.WARNING), LLM(write(parts), n_ctx=256) as llm:
        assert (llm.model.bos, llm.model.adds_bos) == (None, False)
        assert llm.generate("hello", max_tokens=2, temperature=0).usage.n_prompt > 0
    assert "vocabulary_mended" in event_names(caplog)


def test_the_pre_tokenizers_that_take_bos_away_are_those_of_the_source() -> None:
    source = (llama_cpp_dir() / "src/llama-vocab.cpp").read_text("utf-8")
    branches = source.split("} else if (\n")
    found = [
        name
        for branch in branches
        if "special_bos_id = LLAMA_TOKEN_NULL;" in branch and branch.lstrip().startswith("tokenizer_pre ==")
        for name in re.findall(r'tokenizer_pre == "([^"]+)"', branch)
    ]
    assert sorted(found) == sorted(PRE_WITHOUT_BOS)


def test_gemma_4_finds_its_bos_by_its_text(small: Small, write: Write) -> None:
    """llama.cpp adds BOS whatever the file's metadata."""
    parts = having(small("gemma4"), without=("tokenizer.ggml.bos_token_id",))
    with Model(write(parts)) as model:
        assert model.bos == 256
        assert model.tokenize("he")[0] == 256
    with pytest.raises(ModelFormatError, match="needs a token to begin or end texts with"):
        Model(write(renamed(parts, b"<bos>", b"<gos>")))


def test_wordpiece_finds_its_tokens_by_their_text(tmp_path: Path, small: Small, write: Write) -> None:
    parts = having(small("bert"), *lost("bos", "seperator"))
    with Model(write(parts)) as model:
        assert (model.bos, model.sep) == (2, 3)
        tokens = model.tokenize("he")
        assert (tokens[0], tokens[-1]) == (2, 3)
    with pytest.raises(ModelFormatError, match="seperator_token_id"):
        Model(write(renamed(parts, b"[SEP]", b"[XXX]")))
    with LLM(write_tiny_bert(tmp_path / "bert.gguf")) as llm:
        assert len(llm.embed(["untouched"])) == 1


def test_a_comma_is_no_bos(small: Small, write: Write) -> None:
    """llama.cpp's default of byte-level vocabularies is Falcon's token 11, whatever it is in another one."""
    parts = having(small("gpt2"), FLAGS[0], without=("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"))
    with Model(write(parts)) as model:
        assert 11 not in model.tokenize("he")
    types = next(each for each in parts.entries if each.key == b"tokenizer.ggml.token_type")
    at = 12 + 4 * 11
    falcon = Entry(types.key, types.type, types.value[:at] + struct.pack("<i", 3) + types.value[at + 4 :])
    with Model(write(having(parts, falcon))) as model:
        assert model.tokenize("he")[0] == 11


def test_two_tokens_of_the_same_text_are_named(small: Small, write: Write) -> None:
    with pytest.raises(ModelFormatError, match="tokens 1 and 2 have the same text, '</s>'") as caught:
        Model(write(_doubled(small())))
    assert "damaged" not in caught.value.message
    assert "rename one of the two" in caught.value.message


def _doubled(parts: Parts) -> Parts:
    """<s> written as </s>."""
    tokens = next(each for each in parts.entries if each.key == b"tokenizer.ggml.tokens")
    before, after = (struct.pack("<Q", len(each)) + each for each in (b"<s>", b"</s>"))
    return having(parts, Entry(tokens.key, tokens.type, tokens.value.replace(before, after, 1)))


def test_a_vocabulary_that_fails_at_a_prompt_is_an_exception(small: Small, write: Write) -> None:
    """A byte that is in no token: llama.cpp throws where nothing could catch it."""
    parts = small()
    for before, after in ((b"<0x21>", b"<0xxx>"), (b"!", b"~")):
        parts = renamed(parts, before, after)
    with Model(write(parts)) as model:
        for _ in range(2):
            with pytest.raises(ModelError, match=r"the vocabulary of .* is faulty"):
                model.tokenize("!")
        assert model.tokenize("he")
