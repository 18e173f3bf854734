"""Fields that all endpoints which generate text share, as the engine's request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@given(st.integers(-(2**63), 2**64 - 1))
def test_every_seed_is_one_of_the_samplers(seed: int) -> None:
    """A seed in the sampler's range is itself."""
    found = GenerationFields(seed=seed).sampling().seed
    if seed == -1:
        assert found is None
    else:
        assert found is not None
        assert 0 <= found <= MAX_SEED
        assert found == seed or not 0 <= seed <= MAX_SEED
    assert found == GenerationFields(seed=seed).sampling().seed


def test_the_halves_of_a_long_seed_both_count() -> None:
    seeds = (1, 1 << 32 | 1, 1 << 33 | 1, -2, -3)
    assert len({GenerationFields(seed=seed).sampling().seed for seed in seeds}) == len(seeds)


def test_fields_of_vllm_and_llama_server_reach_the_engine() -> None:
    fields = GenerationFields(
        min_tokens=3,
        stop_token_ids=[5, -1],
        skip_special_tokens=False,
        include_stop_str_in_output=True,
        repetition_penalty=1.5,
        top_k=-1,
        temperature=5.0,
    )
    request = generated(fields)
    assert (request.min_tokens, request.stop_token_ids) == (3, (5, -1))
    assert (request.shows_special_tokens, request.shows_stop) == (True, True)
    assert (request.sampling.repeat_penalty, request.sampling.top_k, request.sampling.temperature) == (1.5, 0, 5.0)
    plain = generated(GenerationFields(skip_special_tokens=True, min_tokens=0, stop_token_ids=[]))
    assert plain == generated(GenerationFields())


@pytest.mark.parametrize(
    ("fields", "keeps"),
    [
        (GenerationFields(cache_prompt=False), False),
        (GenerationFields(cache_prompt=True), True),
        (GenerationFields(cache_prompt=False, cache="keep"), True),
        (GenerationFields(cache_prompt=True, cache="discard"), False),
    ],
    ids=str,
)
def test_cache_prompt_is_a_name_of_cache(fields: GenerationFields, keeps: bool) -> None:
    assert generated(fields).keeps_prefix == keeps


def test_stop_is_a_string_or_several() -> None:
    assert GenerationFields(stop="a").stop_strings() == ("a",)
    assert GenerationFields(stop=["a", "b"]).stop_strings() == ("a", "b")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (CompletionFields(stream_options=OBFUSCATED), "stream_options.include_obfuscation"),
        (CompletionFields(repetition_penalty=1.1, repeat_penalty=1.2), "repetition_penalty"),
        (CompletionFields(guided_regex="a", guided_choice=["b"]), "guided_choice"),
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
