"""Fields that all endpoints which generate text share, as the engine's request."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.messages import GenerateRequest, TextPrompt
from llmcore.sampling import MAX_SEED, SamplingParams
from llmcore_app.http.errors import ApiError
from llmcore_app.schemas.generation_fields import (
    CompletionFields,
    GenerationFields,
    StreamOptions,
    check_completion_fields,
)

OBFUSCATED = StreamOptions(include_obfuscation=True)


def generated(fields: GenerationFields, **more: Any) -> GenerateRequest:
    options: dict[str, Any] = dict.fromkeys(("max_tokens", "constraint", "n_logprobs", "timeout_s"))
    return fields.to_generate("r", TextPrompt("x"), priority="normal", **options | more)


def test_without_fields_the_defaults_hold() -> None:
    request = generated(GenerationFields())
    assert request.sampling == SamplingParams()
    assert (request.stop, request.ignore_eos, request.keeps_prefix) == ((), False, True)


def test_each_choice_has_its_own_seed() -> None:
    fields = GenerationFields(seed=MAX_SEED)
    assert [generated(fields, choice=choice).sampling.seed for choice in range(3)] == [MAX_SEED, 0, 1]
    assert generated(GenerationFields(), choice=1).sampling.seed == SamplingParams().seed


def test_stop_is_a_string_or_several() -> None:
    assert GenerationFields(stop="a").stop_strings() == ("a",)
    assert GenerationFields(stop=["a", "b"]).stop_strings() == ("a", "b")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (CompletionFields(stream_options=StreamOptions()), "stream_options"),
        (
            CompletionFields(stream=True, stream_options=StreamOptions(include_obfuscation=True)),
            "stream_options.include_obfuscation",
        ),
        (CompletionFields(logit_bias=dict.fromkeys(range(1025), 1.0)), "logit_bias"),
        (CompletionFields(regex="a", grammar="b"), "grammar"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_rules_between_fields(fields: CompletionFields, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_completion_fields(fields)
    assert caught.value.param == param


def test_usage_is_sent_if_it_is_asked_for() -> None:
    assert not CompletionFields(stream=True).wants_usage
    assert CompletionFields(stream=True, stream_options=StreamOptions(include_usage=True)).wants_usage
