"""Engine with the default model: answers, ends, cancels, and the parity of cached with fresh and batched with alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.engine.engine import Engine
from llmcore.errors import ConfigError, InvalidRequestError, ModelMissingError, OverloadedError
from llmcore.llama.kernels import row_tile
from llmcore.messages import TokensPrompt
from llmcore.startup.resolve import decide_limits
from tests.conftest import exact
from tests.engine.engine_requests import STORY, SURE, chat, request, run


def test_answers_a_question_on_a_fact_in_the_system_prompt(engine: Engine) -> None:
    answer = run(engine, request("a", chat(*SURE), max_tokens=40))["a"]
    assert "Bruno" in answer.text
    assert answer.reason == "stop"


def test_usage_counts_tokens_and_times(engine: Engine) -> None:
    usage = run(engine, request("a", STORY, max_tokens=5))["a"].usage
    assert usage.n_prompt == len(engine.model.tokenize(STORY))
    assert usage.n_generated == 5
    assert usage.n_cached == 0
    assert min(usage.queue_s, usage.prefill_s, usage.decode_s) >= 0


def test_too_many_requests_are_refused(default_model: Path) -> None:
    config = EngineConfig(model_path=str(default_model), n_ctx=512, n_slots=1, n_waiting_max=1)
    with Engine.open(config) as engine:
        engine.submit(request("a", STORY))
        engine.step()
        engine.submit(request("b", STORY))
        with pytest.raises(OverloadedError):
            engine.submit(request("c", STORY))


# --- Deadlines, long answers, overload --------------------------------------------------------------------------------


def test_a_request_that_would_wait_too_long_is_refused_with_the_time_to_come_back(tiny_model: Path) -> None:
    config = exact(tiny_model, n_ctx=2048, n_waiting_tokens_max=500)
    with Engine.open(config) as engine:
        engine.submit(request("a", TokensPrompt(tuple(range(1000, 1400)))))
        with pytest.raises(OverloadedError, match="tokens of prompts") as caught:
            engine.submit(request("b", TokensPrompt(tuple(range(2000, 2400)))))
        assert caught.value.retry_after_s > 0
        assert engine.stats().n_tokens_waiting == 400


def test_opening_without_a_model_or_with_a_bad_template(
    tmp_path: Path, default_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_DIR", str(tmp_path / "empty"))
    with pytest.raises(ModelMissingError, match="llmcore pull"):
        Engine.open(EngineConfig())
    with pytest.raises(ModelMissingError):
        Engine.open(EngineConfig(model_path=str(tmp_path / "none.gguf")))
    with pytest.raises(ConfigError, match="chat_template"):
        Engine.open(EngineConfig(model_path=str(default_model), chat_template=str(tmp_path / "none.jinja")))
    broken = tmp_path / "broken.jinja"
    broken.write_text("{% for x in %}{{")
    with pytest.raises(InvalidRequestError) as caught:
        Engine.open(EngineConfig(model_path=str(default_model), chat_template=str(broken)))
    assert caught.value.param == "chat_template"


def test_a_template_of_ones_own(tmp_path: Path, default_model: Path) -> None:
    template = tmp_path / "mine.jinja"
    template.write_text("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]")
    config = EngineConfig(model_path=str(default_model), n_ctx=512, chat_template=str(template))
    with Engine.open(config) as engine:
        accepted = engine.submit(request("a", chat(("user", "hello"))))
        assert accepted.n_prompt == len(engine.model.tokenize("[user] hello\n[assistant]"))


def test_limits_follow_from_the_model(chat_model: object, tiny: Callable[..., Path]) -> None:
    assert decide_limits(EngineConfig(model_path="x"), chat_model).n_ctx == 8192  # type: ignore[arg-type]
    assert decide_limits(EngineConfig(model_path="x", n_ctx=1024, n_slots=9), chat_model).n_running == 9  # type: ignore[arg-type]


def test_tiles_of_rows_follow_from_the_kernels_in_use(tiny_model: Path) -> None:
    for kernels in ("off", "auto"):
        with Engine.open(exact(tiny_model, n_ctx=256, kernels=kernels)) as engine:
            assert engine.limits.tile == row_tile(engine.model.kernels, engine.model.packed_bytes)
            assert kernels == "auto" or engine.limits.tile.is_padded
    assert not row_tile("avx512", 10**6).is_padded
    assert row_tile("avx512", 0).is_padded, "none of the weights is packed, so llama.cpp multiplies them"


def test_info_and_warm_up(engine: Engine) -> None:
    engine.warm_up()
    assert engine.stats().n_steps == 0
    info = engine.info()
    assert (info.n_ctx, info.n_layer, info.has_chat_template) == (2048, 30, True)
