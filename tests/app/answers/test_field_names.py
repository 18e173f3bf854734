"""The engine's parameters in errors become the fields of the request."""

from __future__ import annotations

import pytest

from llmcore.errors import InvalidRequestError
from llmcore_app.answers.field_names import FieldNames

CHAT = FieldNames("messages", "regex")
RESPONSES = FieldNames("input", "text.format", {"reasoning_effort": "reasoning.effort"}, has_flat_tools=True)


@pytest.mark.parametrize(
    ("names", "param", "field"),
    [
        (CHAT, None, "messages"),
        (CHAT, "tokens", "messages"),
        (CHAT, "stop", "stop"),
        (CHAT, "constraint", "regex"),
        (CHAT, "reasoning_effort", "reasoning_effort"),
        (CHAT, "tools[1].function.name", "tools[1].function.name"),
        (RESPONSES, "tokens", "input"),
        (RESPONSES, "constraint.properties.a", "text.format.properties.a"),
        (RESPONSES, "reasoning_effort", "reasoning.effort"),
        (RESPONSES, "tools[1].function.parameters.function.x", "tools[1].parameters.function.x"),
    ],
)
def test_parameters_become_fields(names: FieldNames, param: str | None, field: str) -> None:
    error = InvalidRequestError("bad", param=param)
    names.rename(error)
    assert (error.param, error.message) == (field, "bad")


def test_a_message_that_begins_with_the_parameter_changes_as_well() -> None:
    error = InvalidRequestError("tools[0].function.name: bad", param="tools[0].function.name")
    RESPONSES.rename(error)
    assert error.message == "tools[0].name: bad"


def test_keywords_of_a_schema_are_paths_below_the_field() -> None:
    assert RESPONSES.keyword("properties.a b.format") == "text.format.properties.a?b.format"
