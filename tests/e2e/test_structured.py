"""Structured output and log-probabilities of the real service with the default model, through the official SDK."""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel, Field

from benchmarks.service import Service, wait_until

pytestmark = pytest.mark.e2e

ASK: list[ChatCompletionMessageParam] = [
    {"role": "system", "content": "You answer in JSON."},
    {"role": "user", "content": "Tell me about a person called Anna."},
]


class Address(BaseModel):
    street: str = Field(max_length=20)
    number: int = Field(ge=0, le=999)


class Person(BaseModel):
    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)
    mood: Literal["good", "bad"]
    address: Address | None


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "languages": {
            "type": "array",
            "items": {"enum": ["English", "German", "French"]},
            "minItems": 1,
            "maxItems": 2,
        },
    },
    "required": ["name", "age", "languages"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def service(default_model: Path) -> Iterator[Service]:
    with Service("--n-ctx", "4096", environ={"MODEL_PATH": str(default_model)}) as started:
        wait_until(lambda: httpx.get(f"{started.base_url}/healthz").status_code == 200, 60, "readiness")
        yield started


@pytest.fixture(scope="module")
def sdk(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def model(sdk: openai.OpenAI) -> str:
    return sdk.models.list().data[0].id


def json_schema(schema: dict[str, Any], *, strict: bool = True) -> Any:
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": strict}}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_schema_is_kept_whole_and_streamed(sdk: openai.OpenAI, model: str, temperature: float) -> None:
    wanted: dict[str, Any] = {
        "model": model,
        "messages": ASK,
        "response_format": json_schema(SCHEMA),
        "seed": 1,
        "max_tokens": 200,
    }
    whole = sdk.chat.completions.create(**wanted, temperature=temperature)
    [choice] = whole.choices
    assert choice.finish_reason == "stop"
    jsonschema.validate(json.loads(choice.message.content or ""), SCHEMA)
    stream = sdk.chat.completions.create(**wanted, temperature=temperature, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    jsonschema.validate(json.loads(text), SCHEMA)


def test_pydantic_models_are_parsed(sdk: openai.OpenAI, model: str) -> None:
    answer = sdk.chat.completions.parse(
        model=model, messages=ASK, response_format=Person, temperature=0, max_tokens=300
    )
    assert isinstance(answer.choices[0].message.parsed, Person)


def test_many_at_once_are_all_valid(sdk: openai.OpenAI, model: str) -> None:
    found: list[Any] = []

    def ask(seed: int) -> None:
        answer = sdk.chat.completions.create(
            model=model, messages=ASK, response_format=json_schema(SCHEMA), seed=seed, temperature=1.0, max_tokens=200
        )
        found.append(json.loads(answer.choices[0].message.content or ""))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for value in found:
        jsonschema.validate(value, SCHEMA)


def test_json_objects(sdk: openai.OpenAI, model: str) -> None:
    answer = sdk.chat.completions.create(
        model=model, messages=ASK, response_format={"type": "json_object"}, temperature=0, max_tokens=500
    )
    text = answer.choices[0].message.content or ""
    assert text.startswith("{")
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text), dict)


def test_expressions_and_grammars_on_both_endpoints(sdk: openai.OpenAI, model: str) -> None:
    chat = sdk.chat.completions.create(
        model=model, messages=ASK, extra_body={"regex": "Anna is [0-9]{2}\\."}, max_tokens=30
    )
    assert re.fullmatch(r"Anna is [0-9]{2}\.", chat.choices[0].message.content or "")
    text = sdk.completions.create(
        model=model, prompt="Is it raining?", extra_body={"grammar": 'root ::= " yes" | " no"'}, max_tokens=10
    )
    assert text.choices[0].text in (" yes", " no")
    assert text.choices[0].finish_reason == "stop"


def test_what_cannot_be_honoured_names_path_and_keyword_and_harms_nobody(sdk: openai.OpenAI, model: str) -> None:
    bad = {"type": "object", "properties": {"tags": {"type": "array", "contains": {"const": 1}}}}
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model=model, messages=ASK, response_format=json_schema(bad))
    assert caught.value.param == "response_format.json_schema.schema.properties.tags.contains"
    assert "'contains' at #/properties/tags" in caught.value.message
    answer = sdk.chat.completions.create(model=model, messages=ASK, max_tokens=2)
    assert answer.choices[0].message.content


def test_what_excludes_little_is_told_in_the_header(sdk: openai.OpenAI, model: str) -> None:
    tags = {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True}
    schema = {"type": "object", "properties": {"tags": tags, "no one": {"type": "string", "format": "iri"}}}
    for stream in (False, True):
        answer = sdk.chat.completions.with_raw_response.create(
            model=model, messages=ASK, response_format=json_schema(schema), max_tokens=5, stream=stream
        )
        assert answer.headers["x-llmcore-ignored"].split(", ") == [
            "response_format.json_schema.schema.properties.tags.uniqueItems",
            "response_format.json_schema.schema.properties.no?one.format",
        ]


def test_log_probabilities_of_chat(sdk: openai.OpenAI, model: str) -> None:
    wanted: dict[str, Any] = {
        "model": model,
        "messages": ASK,
        "max_tokens": 10,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 3,
    }
    whole = sdk.chat.completions.create(**wanted)
    [choice] = whole.choices
    assert choice.logprobs is not None
    content = choice.logprobs.content or []
    assert "".join(each.token for each in content) == choice.message.content
    for each in content:
        assert each.logprob == each.top_logprobs[0].logprob, "the most probable one was drawn"
        assert sum(math.exp(top.logprob) for top in each.top_logprobs) <= 1.0001
    told = [
        each.token
        for chunk in sdk.chat.completions.create(**wanted, stream=True)
        if chunk.choices[0].logprobs
        for each in chunk.choices[0].logprobs.content or []
    ]
    assert told == [each.token for each in content]


def test_log_probabilities_of_completions(sdk: openai.OpenAI, model: str) -> None:
    answer = sdk.completions.create(model=model, prompt="One, two,", max_tokens=6, temperature=0, logprobs=2)
    [choice] = answer.choices
    assert choice.logprobs is not None
    assert "".join(choice.logprobs.tokens or []) == choice.text
    assert choice.logprobs.text_offset is not None
    assert choice.logprobs.text_offset[0] == 0
    for token, logprob, top in zip(
        choice.logprobs.tokens or [],
        choice.logprobs.token_logprobs or [],
        choice.logprobs.top_logprobs or [],
        strict=True,
    ):
        assert top[token] == logprob == max(top.values())
