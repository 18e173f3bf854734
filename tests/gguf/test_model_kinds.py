"""Published GGUF files that cannot be served: each is named by its kind, never as damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llmcore import LLM
from llmcore.errors import (
    ModelArchitectureError,
    ModelError,
    ModelFormatError,
    ModelKindError,
    ModelSplitError,
    NativeError,
)
from llmcore.llama import model
from llmcore.llama.model import Model
from tests.gguf_mutations import Entry, Parts, Tensor, take_apart
from tests.gguf_variations import having, number, text
from tests.small_vocabularies import write_small_vocabulary
from tests.tiny_models import write_split, write_tiny_bert, write_tiny_t5

Small = Callable[..., Parts]
Write = Callable[[Parts], Path]

NOTHING = Parts([], [], bytearray())


def of(*entries: tuple[bytes, bytes]) -> Parts:
    """A file of a few texts and one tensor."""
    return Parts([text(*each) for each in entries], [Tensor(b"w", [8], 0, 0)], bytearray(32))


FILES = {
    "lora": (of((b"general.type", b"adapter"), (b"general.architecture", b"llama")), "an adapter .*: merge it"),
    "old lora": (of((b"adapter.type", b"lora"), (b"general.architecture", b"llama")), "an adapter"),
    "mmproj": (of((b"general.type", b"mmproj"), (b"general.architecture", b"clip")), r"a projector .*\(mmproj\)"),
    "old mmproj": (of((b"general.architecture", b"clip")), "name the language model that it belongs to"),
    "imatrix": (of((b"general.type", b"imatrix")), "an importance matrix"),
    "control vector": (of((b"general.architecture", b"controlvector")), "a control vector"),
    "t5": (of((b"general.architecture", b"t5")), "an encoder-decoder model, which is not supported"),
    "eagle3": (of((b"general.architecture", b"eagle3")), "a draft model"),
    "flux": (of((b"general.architecture", b"flux")), "a model of images or video"),
    "whisper": (of((b"general.architecture", b"whisper")), "a model of speech"),
    "nothing": (NOTHING, "names no architecture"),
    "no vocabulary": (of((b"general.architecture", b"llama")), "has no vocabulary"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_it_is(name: str, write: Write) -> None:
    parts, said = FILES[name]
    path = write(parts)
    with pytest.raises(ModelKindError, match=said) as caught:
        Model(path)
    assert "damaged" not in caught.value.message
    assert str(path) in caught.value.message


@pytest.mark.parametrize("tokenizer", [b"none", b"no_vocab"])
def test_a_model_without_a_vocabulary(tokenizer: bytes, small: Small, write: Write) -> None:
    path = write(having(small(), text(b"tokenizer.ggml.model", tokenizer), number(b"llama.vocab_size", 325)))
    for load in (LLM, Model):
        with pytest.raises(ModelKindError, match="has no vocabulary"):
            load(path)


def test_a_vocabulary_without_a_model(tmp_path: Path) -> None:
    path = write_small_vocabulary(tmp_path / "v.gguf", "llama")
    with pytest.raises(ModelKindError, match="a vocabulary and no weights"):
        Model(path)
    with Model(path, vocab_only=True) as vocabulary:
        assert vocabulary.tokenize("he")


def test_an_unknown_architecture_is_one_whatever_it_lacks(write: Write) -> None:
    with pytest.raises(ModelArchitectureError, match="does not know architecture 'brand-new'"):
        Model(write(of((b"general.architecture", b"brand-new"))))


@pytest.mark.parametrize(
    ("number_", "said"),
    [(31, "Q4_0_4_4.*dropped: get the same model as Q4_0"), (137, "a fork, wrote it"), (36, "IQ4_NL")],
)
def test_unknown_types_of_tensors(number_: int, said: str, write: Write) -> None:
    parts = of((b"general.architecture", b"llama"))
    parts.tensors[0].type = number_
    with pytest.raises(ModelFormatError, match=said) as caught:
        Model(write(parts))
    assert "damaged" not in caught.value.message


def test_parts_of_a_split_model(tmp_path: Path, tiny_model: Path) -> None:
    first, second, third = write_split(tmp_path, "m", tiny_model, 3)
    with pytest.raises(ModelSplitError, match=f"part 2 of 3 of a split model: name the first part, {first}"):
        Model(second)
    third.unlink()
    with pytest.raises(ModelSplitError, match=f"part 3 of 3 of the split model is missing: {third}"):
        Model(first)


def test_what_is_inconsistent_is_damaged(small: Small, write: Write) -> None:
    with pytest.raises(ModelFormatError, match=r"is damaged.*llama\.block_count is 0"):
        Model(write(having(small(), number(b"llama.block_count", 0))))


# --- T5 ---------------------------------------------------------------------------------------------------------------


def test_encoder_decoder_models_are_refused_and_their_encoders_give_embeddings(tmp_path: Path) -> None:
    vocabulary = write_small_vocabulary(tmp_path / "v.gguf", "t5")
    whole = write_tiny_t5(tmp_path / "t5.gguf", vocabulary)
    with pytest.raises(ModelKindError, match="encoder-decoder model, which is not supported"):
        LLM(whole)
    with Model(whole, vocab_only=True) as loaded:
        assert loaded.tokenize("hello")
    with LLM(write_tiny_t5(tmp_path / "encoder.gguf", vocabulary, encoder_only=True), pooling="mean") as llm:
        one, other = np.asarray(llm.embed(["hello there", "something else"]))
        assert np.isfinite(one).all()
        assert not np.allclose(one, other)


# --- llama.cpp's own words ------------------------------------------------------------------------------------------------


def test_what_llama_cpp_says_is_in_the_exception(small: Small, write: Write) -> None:
    with pytest.raises(ModelError, match="unknown pre-tokenizer type: 'who knows'"):
        Model(write(having(small("gpt2"), text(b"tokenizer.ggml.pre", b"who knows"))))
    with pytest.raises(ModelError, match="wrong type str but expected type"):
        Model(write(having(small(), text(b"llama.context_length", b"text"))))
    parts = small()
    short = Parts(parts.entries, parts.tensors[:-1], parts.data)
    with pytest.raises(ModelError, match=r"tensor 'blk\.1\.ffn_down\.weight' not found"):
        Model(write(short))


def test_an_assertion_of_llama_cpp_while_it_loads_is_an_exception(
    small: Small, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process goes on, and so does the next load."""
    tokens = next(each for each in small().entries if each.key == b"tokenizer.ggml.tokens")
    doubled = Entry(tokens.key, tokens.type, tokens.value.replace(b"<0x41>", b"<0x42>"))
    monkeypatch.setattr(model, "check_model_metadata", lambda *_, **__: None)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"vocabulary: llama-vocab\.cpp:\d+: GGML_ASSERT\(id_to_token.*failed$"):
            Model(write(having(small(), doubled)))
    with Model(write(small())) as loaded:
        assert loaded.tokenize("he")


def test_an_assertion_while_a_context_is_created_is_an_exception(tmp_path: Path, write: Write) -> None:
    vocabulary = write_small_vocabulary(tmp_path / "v.gguf", "bert")
    parts = take_apart(write_tiny_bert(tmp_path / "bert.gguf", vocab=vocabulary))
    path = write(having(parts, number(b"bert.attention.key_length", 0)))
    for _ in range(2):
        with pytest.raises(NativeError, match=r"cannot create a context for .*GGML_ASSERT"):
            LLM(path)
