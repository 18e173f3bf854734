"""Answers of LLM under constraints: schemas, types, expressions, grammars, choices."""

from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest

from llmcore import LLM
from llmcore.errors import InvalidRequestError

STORY = "Once upon a time"

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}, "is_capital": {"type": "boolean"}},
    "required": ["city", "is_capital"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    "wanted",
    [
        {"json_schema": SCHEMA},
        {"json_schema": json.dumps(SCHEMA)},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA}}},
    ],
)
def test_answers_by_a_schema(chatty: LLM, wanted: dict[str, Any]) -> None:
    messages = [{"role": "user", "content": "Tell me of a city, as JSON."}]
    answer = json.loads(chatty.chat(messages, temperature=0, max_tokens=60, **wanted).text)
    assert list(answer) == ["city", "is_capital"]


def test_pydantic_models_are_schemas(chatty: LLM) -> None:
    class City(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid")
        name: str = pydantic.Field(max_length=20)
        inhabitants: int = pydantic.Field(ge=0, le=10**7)

    City.model_validate_json(chatty.generate("A city: ", json_schema=City, temperature=0, max_tokens=60).text)


def test_expressions_grammars_and_log_probabilities(chatty: LLM) -> None:
    assert chatty.generate(STORY, regex=" [a-z]{3}", temperature=0).text.strip().isalpha()
    answer = chatty.generate("Is it?", grammar='root ::= " yes" | " no"', temperature=0, logprobs=2)
    assert answer.text in (" yes", " no")
    assert b"".join(each.data for each in answer.logprobs).decode() == answer.text
    stream = chatty.generate(STORY, temperature=0, max_tokens=5, logprobs=0, stream=True)
    assert "".join(stream) == b"".join(each.data for each in stream.parts.logprobs).decode()
    assert chatty.generate(STORY, max_tokens=3, response_format={"type": "text"}).logprobs == ()


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"regex": "a", "grammar": "b"}, "grammar"),
        ({"regex": 5}, "regex"),
        ({"json_schema": 5}, "json_schema"),
        ({"json_schema": {"a": object()}}, "json_schema"),
        ({"json_schema": {"items": {"not": {}}}}, "json_schema.items.not"),
        ({"regex": "("}, "regex"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"logprobs": 21}, "logprobs"),
    ],
)
def test_bad_constraints_are_named(chatty: LLM, bad: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chatty.generate(STORY, **bad)
    assert caught.value.param == named


@pytest.mark.parametrize("name", ["regex", "grammar", "json_schema"])
def test_a_constraint_that_is_no_text_is_named(chatty: LLM, name: str) -> None:
    options: dict[str, Any] = {name: "a\ud800"}
    with pytest.raises(InvalidRequestError, match="not valid Unicode") as caught:
        chatty.generate("a", max_tokens=1, **options)
    assert caught.value.param == name


def test_an_answer_that_is_one_of_several_texts(chatty: LLM) -> None:
    for options in ({"choice": ["yes.", "no|"]}, {"guided_choice": ("yes.", "no|")}):
        answer = chatty.generate("Is it?", max_tokens=8, **options)
        assert answer.text in ("yes.", "no|")
    with pytest.raises(InvalidRequestError) as caught:
        chatty.generate("Is it?", choice=[])
    assert caught.value.param == "choice"
