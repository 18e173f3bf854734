"""Engines of models that give vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.engine.encoder import EncoderEngine, open_engine
from llmcore.errors import (
    ConfigError,
)
from tests.conftest import exact
from tests.embedding.queues import vectors
from tests.tiny_models import write_tiny_bert


def test_what_an_encoder_says_of_itself(tiny_bert: Path) -> None:
    with open_engine(exact(tiny_bert)) as engine:
        assert isinstance(engine, EncoderEngine)
        engine.warm_up()
        info = engine.info()
        assert (info.can_generate, info.pooling, info.n_ctx, info.n_embd) == (False, "mean", 512, 64)
        stats = engine.stats()
        assert (stats.n_slots, stats.n_embed_passes, stats.n_embed_waiting) == (0, 0, 0)
        assert b"n_embed_waiting" in engine.inspect()
        engine.close()
        engine.close()


def test_options_that_mean_nothing_to_an_encoder_are_refused(tiny_bert: Path) -> None:
    for name in ("chat_template", "prefix_file"):
        with pytest.raises(ConfigError, match="cannot generate") as caught:
            open_engine(exact(tiny_bert, **{name: "x"}))
        assert caught.value.param == name


def test_a_chat_model_that_pools_does_both(tiny_model: Path) -> None:
    with open_engine(exact(tiny_model, n_ctx=256, pooling="mean")) as engine:
        info = engine.info()
        assert (info.can_generate, info.pooling) == (True, "mean")
        assert vectors(engine.embeddings, ["a"]).shape == (1, 64)
        assert engine.stats().n_embed_texts == 1


def test_pooling_that_a_model_cannot_do_is_refused_at_start(tiny_bert: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no weights that make a score"):
        open_engine(EngineConfig(model_path=str(tiny_bert), pooling="rank"))
    with pytest.raises(ConfigError, match="knows nothing of the tokens behind it"):
        open_engine(EngineConfig(model_path=str(tiny_model), pooling="cls"))
    silent = write_tiny_bert(tmp_path / "silent.gguf", pooling_type="none")
    with pytest.raises(ConfigError, match="names no pooling"):
        open_engine(EngineConfig(model_path=str(silent)))
    with open_engine(EngineConfig(model_path=str(silent), pooling="mean")) as engine:
        assert engine.embeddings.pooling == "mean"
