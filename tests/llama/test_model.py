"""Model: loading and its failures, metadata, and tokenization that is exact for every vocabulary of the fetched source."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.source import llama_cpp_dir
from llmcore import errors
from llmcore.llama import model
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.library import load_library
from llmcore.llama.model import Model

VOCABULARIES = sorted(
    path for path in (llama_cpp_dir() / "models").glob("ggml-vocab-*.gguf") if Path(f"{path}.inp").exists()
)
# Between the texts of an .inp file; its .out file has one line of token ids for each.
SEPARATOR = "\n__ggml_vocab_test__\n"


def test_metadata_and_sizes_of_the_default_model(chat_model: Model) -> None:
    assert chat_model.architecture == "llama"
    assert (chat_model.n_layer, chat_model.n_embd, chat_model.n_vocab) == (30, 576, 49152)
    assert (chat_model.n_head, chat_model.n_head_kv, chat_model.n_ctx_train) == (9, 3, 8192)
    assert chat_model.n_params == 134_515_008
    assert 90e6 < chat_model.size_bytes < 98_362_432
    assert "Q4_1" in chat_model.description
    assert chat_model.metadata["general.architecture"] == "llama"
    assert chat_model.metadata["llama.block_count"] == "30"
    assert chat_model.chat_template is not None
    assert "im_start" in chat_model.chat_template
    assert chat_model.has_decoder
    assert not chat_model.has_encoder
    assert not chat_model.is_recurrent
    assert chat_model.n_swa == 0


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


def test_progress_is_told_and_may_stop_the_load(default_model: Path) -> None:
    told: list[float] = []

    def note(fraction: float) -> bool:
        told.append(fraction)
        return True

    Model(default_model, progress=note).close()
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    with pytest.raises(errors.ModelLoadAborted):
        Model(default_model, progress=lambda fraction: fraction < 0.5)


def test_an_exception_in_the_progress_callback_comes_out(default_model: Path) -> None:
    def fail(_: float) -> bool:
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        Model(default_model, progress=fail)


def test_a_closed_model_is_an_error_and_not_a_crash(tiny_model: Path) -> None:
    closed = Model(tiny_model)
    closed.close()
    closed.close()
    for use in (
        lambda: closed.tokenize("a"),
        lambda: closed.token_bytes(1),
        lambda: closed.n_params,
        lambda: closed.bos,
    ):
        with pytest.raises(errors.ClosedError):
            use()


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(errors.ModelMissingError, match="llmcore pull"):
        Model(tmp_path / "none.gguf")


def test_a_file_that_is_not_gguf(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("hello, I am not a model" * 100)
    with pytest.raises(errors.ModelFormatError):
        Model(path)


def test_a_truncated_file(tmp_path: Path, default_model: Path) -> None:
    path = tmp_path / "short.gguf"
    with default_model.open("rb") as source:
        path.write_bytes(source.read(30_000_000))
    with pytest.raises(errors.ModelTruncatedError, match="30000000"):
        Model(path)


def test_an_unknown_architecture(tiny: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "strange.gguf"
    data = tiny("plain").read_bytes()
    # The value of general.architecture, and the prefix of every key of it.
    path.write_bytes(data.replace(b"llama", b"lxama"))
    with pytest.raises(errors.ModelArchitectureError, match="lxama"):
        Model(path)


def test_a_model_that_does_not_fit(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "memory_available_bytes", lambda: 1000)
    with pytest.raises(errors.InsufficientMemoryError, match="smaller model") as caught:
        Model(tiny_model)
    assert caught.value.need_bytes > caught.value.available_bytes == 1000


def test_memory_of_gpus_counts_for_weights(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a build with CUDA: docs/DEPLOYMENT.md.
    with Model(tiny_model) as loaded:
        assert loaded.has_gpu == (load_library().lc_gpu_free_bytes() > 0)
    monkeypatch.setattr(model, "memory_available_bytes", lambda: 1000)
    monkeypatch.setattr(load_library(), "lc_gpu_free_bytes", lambda: 2**40)
    with Model(tiny_model) as loaded, Context(loaded, ContextParams(n_ctx=256, flash_attn=True)) as context:
        assert loaded.has_gpu
        assert not context.skips_masked_cells  # our kernels do not attend there
    with Model(tiny_model, vocab_only=True) as loaded:
        assert not loaded.has_gpu


def test_a_path_with_odd_letters(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "modèle ü 模型.gguf"
    shutil.copy(tiny_model, path)
    with Model(path) as loaded:
        assert loaded.tokenize("a")


def test_sizes_of_a_vocabulary_alone_are_zero(tiny_model: Path) -> None:
    with Model(tiny_model, vocab_only=True) as vocabulary:
        assert (vocabulary.n_head, vocabulary.n_head_kv, vocabulary.n_layer, vocabulary.n_swa) == (0, 0, 0, 0)
