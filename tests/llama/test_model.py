"""Model: loading and its failures, metadata, and tokenization that is exact for every vocabulary of the fetched source."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore import errors
from llmcore.llama import model
from llmcore.llama.context import Context
from llmcore.llama.context_params import ContextParams
from llmcore.llama.ffi.library import load_library
from llmcore.llama.model import Model


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
    # A build with CUDA: docs/DEPLOYMENT.md.
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
