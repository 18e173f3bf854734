"""Constraints from keyword arguments."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.grammar.response_format import take_constraint
from llmcore.messages import Constraint, Grammar, JsonObject, JsonSchema, Regex


class Pydantic:
    @staticmethod
    def model_json_schema() -> dict[str, Any]:
        return {"type": "object"}


@pytest.mark.parametrize(
    ("name", "value", "constraint"),
    [
        ("regex", "[0-9]+", Regex("[0-9]+")),
        ("grammar", 'root ::= "a"', Grammar('root ::= "a"')),
        ("json_schema", {"type": "null"}, JsonSchema(b'{"type":"null"}')),
        ("json_schema", '{"type": "null"}', JsonSchema(b'{"type": "null"}')),
        ("json_schema", Pydantic, JsonSchema(b'{"type":"object"}')),
        ("response_format", {"type": "text"}, None),
        ("response_format", {"type": "json_object"}, JsonObject()),
        (
            "response_format",
            {"type": "json_schema", "json_schema": {"schema": {}, "strict": False}},
            JsonSchema(b"{}", strict=False),
        ),
    ],
)
def test_each_form_is_taken_from_the_arguments(name: str, value: Any, constraint: Constraint | None) -> None:
    options = {name: value, "max_tokens": 4}
    assert take_constraint(options) == (constraint, name)
    assert options == {"max_tokens": 4}


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"regex": "a", "grammar": "b"}, "grammar"),
        ({"regex": 5}, "regex"),
        ({"grammar": "\ud800"}, "grammar"),
        ({"json_schema": 5}, "json_schema"),
        ({"json_schema": {"const": object()}}, "json_schema"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(options: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        take_constraint(options)
    assert caught.value.param == param


def test_without_a_form_there_is_no_constraint() -> None:
    assert take_constraint({"max_tokens": 4}) == (None, "")


def test_a_choice_is_a_sequence_of_texts() -> None:
    options: dict[str, Any] = {"choice": ("a.b", "c")}
    assert take_constraint(options) == (Regex(r"a\.b|c"), "choice")
    assert options == {}
    for value, param in (
        ("abc", "choice"),
        ([], "choice"),
        ({"a": 1}, "choice"),
        (5, "choice"),
        (["a"] * 1025, "choice"),
        (["a", 5], "choice[1]"),
        (["\ud800"], "choice[0]"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            take_constraint({"choice": value})
        assert caught.value.param == param
