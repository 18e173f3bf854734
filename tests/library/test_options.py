"""The written-out keyword arguments are those of the declarations."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import pytest

from llmcore import LLM
from llmcore.config import EngineConfig
from llmcore.library.options import ChatOptions, EngineOptions, GenerateOptions, OtherNames, SamplingOptions
from llmcore.library.other_names import ANSWER_NAMES, ENGINE_NAMES
from llmcore.sampling import SamplingParams


def test_engine_options_are_those_of_the_config() -> None:
    hints = get_type_hints(EngineOptions)
    ours = {name: hints[name] for name in hints if name not in ENGINE_NAMES and name != "model_path"}
    declared = {name: kind for name, kind in get_type_hints(EngineConfig).items() if name != "model_path"}
    assert ours == declared
    assert {name: hints[name] for name in ENGINE_NAMES} == {name: declared[ours] for name, ours in ENGINE_NAMES.items()}


def test_sampling_options_are_the_fields_of_sampling_params() -> None:
    hints, declared = get_type_hints(SamplingOptions), get_type_hints(SamplingParams)
    assert hints.keys() == declared.keys()
    plain = {name for name, kind in declared.items() if kind in (int, float)}
    assert {name: hints[name] for name in plain} == {name: declared[name] for name in plain}


def test_other_names_are_the_table() -> None:
    assert OtherNames.__annotations__.keys() == ANSWER_NAMES.keys()
    for options in (ChatOptions, GenerateOptions):
        assert {*ANSWER_NAMES.values()} <= options.__annotations__.keys() | {"max_tokens", "stop"}


@pytest.mark.parametrize("method", [LLM.generate, LLM.chat, LLM.__init__])
def test_help_shows_the_type_of_the_options(method: Any) -> None:
    assert "Unpack[" in str(inspect.signature(method).parameters["options"])
