"""Sampling parameters that a model's file recommends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from llmcore import LLM
from llmcore.errors import ConfigError
from llmcore.library.sampling_defaults import PLAIN_DEFAULTS, default_sampling
from llmcore.sampling import SamplingParams


def test_a_file_without_recommendations() -> None:
    assert default_sampling({"general.name": "x"}) == PLAIN_DEFAULTS


def test_recommendations_replace_the_defaults_as_a_whole() -> None:
    found = default_sampling({"general.sampling.temp": "0.600000", "general.sampling.top_k": "20"})
    assert found == SamplingParams(temperature=0.6, top_k=20)


@pytest.mark.parametrize("text", ["hot", "-3", "nan", "1e9", ""])
def test_a_value_out_of_range_counts_as_absent(text: str) -> None:
    assert default_sampling({"general.sampling.temp": text}) == PLAIN_DEFAULTS
    assert default_sampling({"general.sampling.temp": text, "general.sampling.top_p": "0.8"}) == SamplingParams(
        top_p=0.8
    )


def test_a_library_user_gets_them(tiny: Callable[..., Path]) -> None:
    with LLM(tiny("plain"), n_ctx=256, flash_attn="off", cache_type_k="f16", cache_type_v="f16") as llm:
        assert llm.default_sampling == PLAIN_DEFAULTS


def test_a_known_entry_counts_where_the_file_recommends_nothing(default_model: Path) -> None:
    known = {"temperature": 0.2, "top_k": 5}
    assert default_sampling({"general.name": "x"}, known) == SamplingParams(temperature=0.2, top_k=5)
    assert default_sampling({"general.sampling.temp": "0.6"}, known) == SamplingParams(temperature=0.6)
    with LLM(default_model, n_ctx=256) as llm:
        assert llm.default_sampling == SamplingParams(temperature=0.2, top_p=0.9), "the model card's"


def test_a_file_of_known_models_that_is_broken_matters_to_its_models_alone(
    default_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "known.json").write_text("{")
    monkeypatch.setenv("LLMCORE_MODEL_CONFIG", str(tmp_path / "known.json"))
    with LLM(default_model, n_ctx=256) as llm:
        assert llm.default_sampling == PLAIN_DEFAULTS
    with pytest.raises(ConfigError, match=r"known\.json"):
        LLM("mine")
