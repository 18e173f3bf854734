"""The part of a tool's schema that a grammar enforces."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.llama.tool_schema import relax_schema

STRING = {"type": "string"}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object", "properties": {"a": STRING}, "required": ["a"], "additionalProperties": False},
        {"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": 9}, "minItems": 1, "maxItems": 3},
        {"anyOf": [STRING, {"type": "null"}], "description": "or nothing", "default": None},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"enum": ["x", "y"]}}},
        {"type": "string", "format": "date"},
        {"type": "string", "pattern": "^[a-z]{2}(?:-[0-9]+)?$"},
        {"type": "string", "minLength": 1, "maxLength": 5, "x-mine": {"not": "a keyword"}},
        # A property may have any name.
        {"type": "object", "properties": {"not": STRING, "pattern": STRING, "if": STRING}},
        {"const": {"not": 1}},
    ],
)
def test_what_can_be_held_stays_as_it_is(schema: dict[str, Any]) -> None:
    relaxed = relax_schema(schema)
    assert relaxed.left_out == []
    assert relaxed.schema == schema


@pytest.mark.parametrize(
    ("schema", "rest", "left_out"),
    [
        ({"type": "number", "minimum": 0.5}, {"type": "number"}, ("$", "minimum")),
        ({"type": "string", "format": "email"}, STRING, ("$", "format")),
        ({"type": "string", "pattern": "(?<=a)b"}, STRING, ("$", "pattern")),
        ({"type": "string", "pattern": "a"}, STRING, ("$", "pattern")),
        ({"type": "array", "items": {"not": STRING}}, {"type": "array", "items": {}}, ("$.items", "not")),
        ({"properties": {"a": {"uniqueItems": True}}}, {"properties": {"a": {}}}, ("$.properties.a", "uniqueItems")),
        ({"anyOf": [STRING], "type": "string"}, {"anyOf": [STRING]}, ("$", "type")),
        ({"$ref": "https://example.com/a"}, {}, ("$", "$ref")),
        ({"prefixItems": [False]}, {"prefixItems": [{}]}, ("$.prefixItems[0]", "false")),
        ({"allOf": [{"if": {}}]}, {"allOf": [{}]}, ("$.allOf[0]", "if")),
        (
            {"additionalProperties": {"multipleOf": 2}},
            {"additionalProperties": {}},
            ("$.additionalProperties", "multipleOf"),
        ),
    ],
)
def test_a_keyword_that_cannot_be_held_is_left_out_and_told(
    schema: dict[str, Any], rest: dict[str, Any], left_out: tuple[str, str]
) -> None:
    relaxed = relax_schema(schema)
    assert (relaxed.schema, relaxed.left_out) == (rest, [left_out])


@pytest.mark.parametrize(
    ("type", "low", "high"),
    [
        ("string", "minLength", "maxLength"),
        ("array", "minItems", "maxItems"),
        ("integer", "minimum", "maximum"),
        ("integer", "exclusiveMinimum", "maximum"),
    ],
)
def test_bounds_that_leave_nothing_are_left_out(type: str, low: str, high: str) -> None:
    relaxed = relax_schema({"type": type, low: 100, high: 2})
    assert relaxed.schema == {"type": type}
    assert relaxed.left_out == [("$", low), ("$", high)]
    assert relax_schema({"type": type, low: 2, high: 2}).left_out == []


def test_escapes_that_llama_cpp_does_not_know_are_written_out() -> None:
    relaxed = relax_schema({"type": "string", "pattern": r"^\d{3}-[\w-]+\.\/$"})
    assert relaxed.schema["pattern"] == r"^[0-9]{3}-[A-Za-z0-9_-]+\./$"
    assert relaxed.left_out == []
