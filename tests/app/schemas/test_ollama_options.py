"""Options of Ollama's requests as fields of a chat request."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llmcore_app.schemas.generation_fields import GenerationFields
from llmcore_app.schemas.ollama_options import OllamaOptions


def options(**given: Any) -> OllamaOptions:
    return msgspec.json.decode(msgspec.json.encode(given), type=OllamaOptions)


def test_absent_options_have_the_defaults_of_chat() -> None:
    assert options().generation_fields() == GenerationFields()
    assert options().max_tokens is None


@pytest.mark.parametrize(("given", "found"), [(12, 12), (12.0, 12), (0, None), (-1, None), (-2, None)])
def test_num_predict(given: float, found: int | None) -> None:
    assert options(num_predict=given).max_tokens == found


@pytest.mark.parametrize(("given", "found"), [(0, 0), (7.0, 7), (-1, None), (2**32 + 5, 5), (-2, 2**32 - 2)])
def test_seeds_are_mapped_to_32_bits(given: float, found: int | None) -> None:
    assert options(seed=given).generation_fields().seed == found


@pytest.mark.parametrize(
    ("given", "found"), [("a", ("a",)), (["a", "", "b"], ("a", "b")), ([""], ()), ([], ()), (None, ())]
)
def test_stop_strings(given: Any, found: tuple[str, ...]) -> None:
    assert options(stop=given).generation_fields().stop_strings() == found


@pytest.mark.parametrize("given", [{"temperature": -0.1}, {"top_p": 2}, {"num_predict": -3}, {"stop": ["x"] * 17}])
def test_values_out_of_range(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        options(**given)
