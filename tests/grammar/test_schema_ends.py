"""Recursive schemas, with values that end and without."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.grammar.schema_ends import endless

SELF = {"$ref": "#/$defs/a"}


def schema(**definition: Any) -> dict[str, Any]:
    return {**SELF, "$defs": {"a": definition}}


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "object", "properties": {"x": SELF}, "required": ["x"]},
        {"type": "object", "additionalProperties": SELF, "required": ["x"]},
        {"type": "array", "items": SELF, "minItems": 1},
        {"type": "array", "prefixItems": [SELF], "minItems": 1},
        {"anyOf": [SELF, {"type": "array", "items": SELF, "minItems": 2}]},
    ],
)
def test_values_that_contain_another_one_each_never_end(definition: dict[str, Any]) -> None:
    assert endless(schema(**definition)) == ["a", None]


@pytest.mark.parametrize(
    "definition",
    [
        {"type": "object", "properties": {"x": SELF}},
        {"type": ["object", "null"], "properties": {"x": SELF}, "required": ["x"]},
        {"type": "array", "items": SELF},
        {"anyOf": [SELF, {"type": "null"}]},
    ],
)
def test_values_that_can_do_without_another_one_end(definition: dict[str, Any]) -> None:
    found = schema(**definition)
    assert endless(found) == []
    assert found == schema(**definition)


def test_parts_without_an_end_are_forbidden_where_a_value_can_do_without() -> None:
    inner = {"type": "object", "properties": {"x": {"$ref": "#/$defs/b"}}, "required": ["x"]}
    found = {
        "anyOf": [{"$ref": "#/$defs/b"}, {"type": "object", "properties": {"x": {"$ref": "#/$defs/b"}, "y": True}}],
        "$defs": {"b": inner},
    }
    assert endless(found) == []
    assert found["anyOf"] == [False, {"type": "object", "properties": {"x": False, "y": True}}]


def test_a_schema_without_values_has_none_that_ends() -> None:
    assert endless({"allOf": [False]}) == [None]
