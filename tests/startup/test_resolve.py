"""Numbers, pooling, memory and the context that follow from a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.errors import ConfigError, InsufficientMemoryError
from llmcore.limits import Limits
from llmcore.llama.context_params import ContextParams
from llmcore.llama.model import Model
from llmcore.startup import resolve
from llmcore.startup.attention_settings import AttentionSettings
from llmcore.startup.resolve import (
    N_SEQ_MAX,
    decide_batches,
    decide_host_bytes,
    decide_limits,
    decide_n_ctx,
    decide_n_running,
    decide_pooling,
    n_slots_cached,
    open_context,
    open_embedder,
)
from tests.log_events import event_names


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Iterator[Model]:
    with Model(tiny_model) as opened:
        yield opened


@pytest.mark.parametrize(
    ("n_batch", "n_ubatch", "expected"),
    [(0, 0, (512, 512)), (64, 0, (64, 64)), (2048, 0, (2048, 512)), (0, 1024, (1024, 1024)), (128, 32, (128, 32))],
)
def test_batches_that_are_left_open(n_batch: int, n_ubatch: int, expected: tuple[int, int]) -> None:
    assert decide_batches(EngineConfig(n_batch=n_batch, n_ubatch=n_ubatch)) == expected


@pytest.mark.parametrize(
    ("n_ctx", "n_ctx_train", "expected"), [(0, 2048, 2048), (0, 131072, 8192), (0, 0, 8192), (32768, 2048, 32768)]
)
def test_the_context_is_the_models_within_a_limit(n_ctx: int, n_ctx_train: int, expected: int) -> None:
    assert decide_n_ctx(EngineConfig(n_ctx=n_ctx), n_ctx_train) == expected


def test_sequences_fit_into_a_step_and_into_llama_cpps_limit() -> None:
    assert decide_n_running(EngineConfig(n_slots=8, n_batch=4)) == 4
    n_running = decide_n_running(EngineConfig(n_slots=256))
    assert n_running == N_SEQ_MAX - 1
    assert n_slots_cached(n_running) + 1 == N_SEQ_MAX
    assert n_slots_cached(4) == 32


def test_a_step_is_no_larger_than_the_context(model: Model) -> None:
    limits = decide_limits(EngineConfig(n_ctx=16, n_slots=64), model)
    assert (limits.n_batch, limits.n_running) == (16, 16)
    assert decide_limits(EngineConfig(n_ctx=4096, n_batch=256), model).n_batch == 256


def test_logits_of_prompts_take_a_bounded_memory(model: Model) -> None:
    limits = decide_limits(EngineConfig(n_ctx=256), model)
    assert 1 <= limits.n_logits * 4 * model.n_vocab <= 64 * 2**20


def test_a_context_beyond_training_is_a_warning(model: Model, caplog: pytest.LogCaptureFixture) -> None:
    assert decide_limits(EngineConfig(n_ctx=model.n_ctx_train), model).n_ctx == model.n_ctx_train
    assert "context_beyond_training" not in event_names(caplog)
    decide_limits(EngineConfig(n_ctx=2 * model.n_ctx_train), model)
    assert "context_beyond_training" in event_names(caplog)


def test_a_pooling_that_the_model_cannot_do_is_refused(model: Model, tiny_bert: Path) -> None:
    assert decide_pooling(EngineConfig(), model) == "none"
    assert open_embedder(EngineConfig(), model, (1, 1)) is None
    assert decide_pooling(EngineConfig(pooling="mean"), model) == "mean"
    for pooling in ("cls", "rank"):
        with pytest.raises(ConfigError, match=f"pooling={pooling}"):
            decide_pooling(EngineConfig(pooling=pooling), model)
    with Model(tiny_bert) as encoder:
        assert decide_pooling(EngineConfig(pooling="cls"), encoder) == "cls"


def test_the_host_cache_takes_a_share_of_the_memory_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "memory_available_bytes", lambda: 4 * 2**30)
    assert decide_host_bytes(EngineConfig()) == 2**30
    assert decide_host_bytes(EngineConfig(host_cache_bytes=0)) == 0
    assert decide_host_bytes(EngineConfig(host_cache_bytes=2**31)) == 2**31
    with pytest.raises(InsufficientMemoryError, match="host_cache_bytes is 8192 MiB, and 4096 MiB"):
        decide_host_bytes(EngineConfig(host_cache_bytes=2**33))
    monkeypatch.setattr(resolve, "memory_available_bytes", lambda: 2**40)
    assert decide_host_bytes(EngineConfig()) == 4 * 2**30, "at most"


def test_the_next_choice_is_taken_where_the_first_does_not_fit(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(n_ctx=1024, n_running=2, n_waiting=1, n_batch=128)
    config = EngineConfig(model_path=model.path, n_ctx=1024, n_batch=128, n_ubatch=128, profile_dir=str(tmp_path))
    context, _ = open_context(config, model, limits, (1, 1))
    first = context.params
    context.close()

    class Tight:
        def __init__(self) -> None:
            self.asked: list[AttentionSettings] = []

        def __call__(self, _model: Model, params: ContextParams) -> object:
            self.asked.append(AttentionSettings(params.flash_attn, params.cache_type_k, params.cache_type_v))
            if len(self.asked) == 1:
                raise InsufficientMemoryError("too little")
            return params

    tight = Tight()
    monkeypatch.setattr("llmcore.startup.resolve.Context", tight)
    open_context(config, model, limits, (1, 1))
    assert tight.asked[0] == AttentionSettings(first.flash_attn, first.cache_type_k, first.cache_type_v)
    assert tight.asked[1] != tight.asked[0]
