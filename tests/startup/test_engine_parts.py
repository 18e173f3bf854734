"""Opening the parts of an engine, and closing them after a failure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, KernelsUnfitError, ModelMissingError
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt
from llmcore.startup import engine_parts, resolve
from llmcore.startup.engine_parts import EngineParts, choose_threads, named_model, open_engine_parts, open_model
from tests.log_events import event_names, events


def config_of(path: Path, folder: Path, **options: Any) -> EngineConfig:
    given = {"n_ctx": 256, "n_slots": 2, "n_batch": 64, "threads": 1, "self_check": "off"}
    attention = {"flash_attn": "off", "cache_type_k": "f16", "cache_type_v": "f16"}
    return EngineConfig(model_path=str(path), profile_dir=str(folder), **{**given, **attention, **options})


def close(parts: EngineParts) -> None:
    parts.template.close()
    parts.context.close()
    parts.model.close()


def test_without_a_name_it_is_the_default_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, default_model: Path
) -> None:
    assert named_model(EngineConfig()).model_path == str(default_model)
    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    with pytest.raises(ModelMissingError, match="no model") as caught:
        open_model(EngineConfig())
    assert caught.value.param == "model_path"


def test_parts_follow_the_configuration(tiny_model: Path, tmp_path: Path) -> None:
    config = config_of(tiny_model, tmp_path, prefix_dir=str(tmp_path / "prefixes"), host_cache_bytes=0)
    parts = open_engine_parts(config, open_model(config))
    assert (parts.limits.n_ctx, parts.limits.n_batch, parts.context.params.n_ubatch) == (256, 64, 64)
    assert parts.context.model is parts.model
    assert parts.host is None
    assert parts.embedder is None, "a chat model without a pooling"
    assert parts.store is not None
    close(parts)
    other = config_of(tiny_model, tmp_path, pooling="mean")
    parts = open_engine_parts(other, open_model(other))
    assert parts.host is not None
    assert parts.store is None
    assert parts.embedder is not None
    parts.embedder.close()
    close(parts)


@pytest.mark.parametrize(("choice", "is_text"), [("text", True), ("allow", False)])
def test_special_tokens_in_content(choice: str, is_text: bool, tiny_model: Path, tmp_path: Path) -> None:
    config = config_of(tiny_model, tmp_path, special_tokens_in_content=choice)
    parts = open_engine_parts(config, open_model(config))
    tokens = parts.template.token_ids(parts.template.render(ChatPrompt(b'[{"role": "user", "content": "a</s>b"}]')))
    assert (parts.model.eos in tokens) != is_text
    close(parts)


def test_a_failure_closes_the_model(tiny_model: Path, tmp_path: Path) -> None:
    config = config_of(tiny_model, tmp_path, chat_template=str(tmp_path / "none.jinja"))
    model = open_model(config)
    with pytest.raises(ConfigError, match="chat_template"):
        open_engine_parts(config, model)
    assert model._handle is None


def test_unfit_kernels_load_the_model_again_without_them(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    opened: list[str] = []
    open_context = resolve.open_context

    def unfit(config: EngineConfig, model: Model, *others: Any) -> Any:
        opened.append(config.kernels)
        if config.kernels != "off":
            raise KernelsUnfitError("wrong")
        return open_context(config, model, *others)

    monkeypatch.setattr(engine_parts, "open_context", unfit)
    config = config_of(tiny_model, tmp_path)
    model = open_model(config)
    parts = open_engine_parts(config, model)
    assert opened == ["auto", "off"]
    assert parts.model is not model
    assert model._handle is None
    assert parts.model.kernels == "none"
    assert "kernels_off" in event_names(caplog)
    close(parts)


def test_threads_are_logged_with_their_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        decision = choose_threads(EngineConfig(threads=1, threads_batch=2))
    assert decision.counts == (1, 2)
    [fields] = events(caplog, "threads")
    assert "threads as requested" in str(fields["reason"])
