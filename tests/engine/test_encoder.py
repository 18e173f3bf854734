"""The engine of a model that cannot generate: embeddings work, everything else is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmcore.config import EngineConfig
from llmcore.engine.encoder import EncoderEngine, open_engine
from llmcore.engine.engine import Engine
from llmcore.errors import ConfigError, PrefixMissingError, UnsupportedError
from llmcore.messages import PrefixSpec, TextPrompt
from tests.conftest import exact
from tests.engine.engine_requests import request


@pytest.fixture
def encoder(tiny_bert: Path) -> Iterator[EncoderEngine]:
    with open_engine(EngineConfig(model_path=str(tiny_bert))) as opened:
        assert isinstance(opened, EncoderEngine)
        yield opened


def test_the_engine_fits_the_model(tiny_model: Path) -> None:
    with open_engine(exact(tiny_model, n_ctx=256)) as opened:
        assert isinstance(opened, Engine)


def test_generation_is_refused_with_what_to_use_instead(encoder: EncoderEngine) -> None:
    prompt = TextPrompt("hello")
    for call in (
        lambda: encoder.submit(request("a", "hello")),
        lambda: encoder.read(prompt),
        lambda: encoder.prefixes.pin(PrefixSpec(name="a", prompt=prompt)),
    ):
        with pytest.raises(UnsupportedError, match="gives embeddings only"):
            call()
    with pytest.raises(PrefixMissingError):
        encoder.prefixes.unpin("a")
    assert (encoder.step(), encoder.prefixes.infos(), encoder.has_work) == ([], [], False)


def test_a_warm_up_leaves_no_count(encoder: EncoderEngine) -> None:
    encoder.warm_up()
    stats = encoder.stats()
    assert (stats.n_embed_texts, stats.n_embed_waiting, stats.n_slots) == (0, 0, 0)
    assert encoder.info().pooling == encoder.embeddings.pooling


def test_options_of_generation_are_refused(tiny_bert: Path) -> None:
    with pytest.raises(ConfigError, match="cannot generate") as caught:
        open_engine(EngineConfig(model_path=str(tiny_bert), chat_template="any.jinja"))
    assert caught.value.param == "chat_template"
