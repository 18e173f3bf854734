"""Opening a draft model: one that fits, and one clear line for each that does not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFWriter

from benchmarks.random_model import n_tokens
from benchmarks.source import vocabulary
from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, InsufficientMemoryError, LlmcoreError, ModelMissingError
from llmcore.gguf.header import read_header
from llmcore.limits import Limits
from llmcore.llama.model import Model
from llmcore.startup import draft_context
from llmcore.startup.draft_context import check_same_vocabulary, open_draft_context
from tests.log_events import event_names
from tests.small_vocabularies import write_small_vocabulary, write_tag_vocabulary
from tests.tiny_models import write_tiny_llama

LIMITS = Limits(n_ctx=512, n_running=4, n_waiting=8, n_batch=64)


def config_of(draft: Path, **options: Any) -> EngineConfig:
    return EngineConfig(draft_model=str(draft), **options)


def refusal(config: EngineConfig, target: Path) -> LlmcoreError:
    with Model(target) as model, pytest.raises(LlmcoreError) as caught:
        open_draft_context(config, model, LIMITS, (1, 1))
    assert caught.value.param == "draft_model"
    assert caught.value.message.startswith("draft_model: ")
    assert "\n" not in caught.value.message
    return caught.value


def test_without_the_option_there_is_none(tiny_model: Path) -> None:
    with Model(tiny_model) as model:
        assert open_draft_context(EngineConfig(), model, LIMITS, (1, 1)) is None


def test_it_has_the_cells_of_the_target_and_its_threads(tiny: Callable[..., Path], tiny_model: Path) -> None:
    with Model(tiny_model) as model:
        context = open_draft_context(config_of(tiny("drafting", n_layer=1, seed=3)), model, LIMITS, (1, 2))
        assert context is not None
        assert (context.n_ctx, context.params.n_slots, context.threads) == (512, 10, (1, 2))
        context.close()
        context.model.close()


def test_another_vocabulary_is_refused_with_the_first_token_that_differs(tmp_path: Path, tiny_model: Path) -> None:
    other = write_tiny_llama(tmp_path / "other.gguf", vocab=vocabulary("gpt-2"))
    error = refusal(config_of(other), tiny_model)
    assert isinstance(error, ConfigError)
    assert "another vocabulary" in error.message
    assert "token 0 is '!' in the draft model and '<unk>' in the model" in error.message


def test_a_missing_file_and_one_that_is_no_model(tmp_path: Path, tiny_model: Path) -> None:
    error = refusal(config_of(tmp_path / "none.gguf"), tiny_model)
    assert isinstance(error, ModelMissingError)
    assert "none.gguf" in error.message
    (tmp_path / "text.gguf").write_text("no model")
    assert "not a GGUF file" in refusal(config_of(tmp_path / "text.gguf"), tiny_model).message
    vocabulary_only = vocabulary("llama-spm")
    assert refusal(config_of(vocabulary_only), tiny_model)


def test_a_head_of_another_model(tmp_path: Path, tiny_model: Path) -> None:
    writer = GGUFWriter(tmp_path / "head.gguf", "eagle3")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    assert "reads hidden states" in refusal(config_of(tmp_path / "head.gguf"), tiny_model).message


def test_too_little_memory_for_its_weights(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft_context, "memory_available_bytes", lambda: 1 << 20)
    error = refusal(config_of(tiny_model), tiny_model)
    assert isinstance(error, InsufficientMemoryError)
    assert "MiB of weights" in error.message
    assert "beside the model" in error.message
    assert error.need_bytes > error.available_bytes


def test_too_little_memory_for_its_cells(tiny_model: Path) -> None:
    limits = Limits(n_ctx=2**31 - 256, n_running=1, n_waiting=8, n_batch=64)
    with (
        Model(tiny_model) as model,
        pytest.raises(InsufficientMemoryError, match="draft_model: a context of") as caught,
    ):
        open_draft_context(config_of(tiny_model), model, limits, (1, 1))
    assert caught.value.param == "draft_model"


def test_a_memory_that_cannot_go_back(tiny_model: Path, tiny_recurrent: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert "cannot go back" in refusal(config_of(tiny_recurrent), tiny_model).message
    with Model(tiny_recurrent) as model:
        assert open_draft_context(config_of(tiny_model), model, LIMITS, (1, 1)) is None
    assert "draft_model_unused" in event_names(caplog)


def test_unused_tokens_may_differ(tmp_path: Path) -> None:
    plain = read_header(write_small_vocabulary(tmp_path / "plain.gguf", "gpt2"))
    padded = read_header(write_tag_vocabulary(tmp_path / "padded.gguf", ["[PAD1]", "[PAD2]"], kind=5))
    tagged = read_header(write_tag_vocabulary(tmp_path / "tagged.gguf", ["<tag>"]))
    check_same_vocabulary(plain, padded)
    check_same_vocabulary(padded, plain)
    check_same_vocabulary(
        padded, read_header(write_tag_vocabulary(tmp_path / "two.gguf", ["<a>", "<b>", "<c>"], kind=5))
    )
    n = n_tokens(tmp_path / "plain.gguf")
    with pytest.raises(ConfigError, match=f"token {n} is missing in the draft model and '<tag>' in the model"):
        check_same_vocabulary(plain, tagged)
