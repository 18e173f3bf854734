"""Single schemas as they are read: names of older drafts, formats, names of properties, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.errors import InvalidRequestError
from tests.grammar.rust_expressions import all_match
from tests.grammar.schemas import reader


@pytest.mark.parametrize(
    ("schema", "read"),
    [
        ({"title": "t", "type": "string", "x-order": 1}, {"type": "string"}),
        ({"items": [{}], "additionalItems": False}, {"prefixItems": [{}], "items": False}),
        ({"items": {}, "additionalItems": False}, {"items": {}}),
        ({"minLength": 2.0, "multipleOf": -3}, {"minLength": 2, "multipleOf": 3}),
        ({"format": "email"}, {"format": "email"}),
        ({"unevaluatedProperties": False}, {"additionalProperties": False}),
        ({"unevaluatedItems": {"type": "null"}}, {"items": {"type": "null"}}),
        ({"uniqueItems": True, "items": {"enum": [1, 2]}}, {"maxItems": 2, "items": {"enum": [1, 2]}}),
        (
            {"propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "null"}},
            {"properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "additionalProperties": False},
        ),
        ({"propertyNames": {"pattern": "^a"}, "properties": {"a": {}}}, {"properties": {"a": {}}}),
    ],
)
def test_schemas_are_read(schema: dict[str, Any], read: dict[str, Any]) -> None:
    assert reader(schema).member(schema, ()).schema == read


def test_names_of_properties_by_a_pattern_or_a_length() -> None:
    for names, name, other in (({"pattern": "^[a-z]+$"}, "abc", "A"), ({"minLength": 2, "maxLength": 3}, "ab", "a")):
        schema = {"type": "object", "propertyNames": names, "additionalProperties": {"type": "null"}}
        read = reader(schema).member(schema, ()).schema
        [(pattern, (values, _))] = read["patternProperties"].items()
        assert (values, read["additionalProperties"]) == ({"type": "null"}, False)
        assert all_match([pattern], name)
        assert not all_match([pattern], other)


def test_names_of_properties_by_a_reference() -> None:
    schema = {"propertyNames": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "string", "enum": ["a"]}}}
    assert list(reader(schema).member(schema, ()).schema["properties"]) == ["a"]


@pytest.mark.parametrize("value", ["2026-02-28T12:30:00Z", "2026-12-31t23:59:59.123456789+01:00"])
def test_times_have_at_most_nine_digits_of_a_second(value: str) -> None:
    schema = {"format": "date-time"}
    patterns = reader(schema).member(schema, ()).schema["pattern"]
    assert all_match(patterns, value)
    assert not all_match(patterns, value.replace("Z", ".1234567890Z").replace("789+", "7890+"))


def test_lenient_reading_notes_what_it_leaves_out() -> None:
    schema: dict[str, Any] = {"type": "strin", "not": {}, "pattern": "(", "$ref": "#/none", "x-guidance": {}}
    read = reader(schema, lenient=True)
    assert read.member(schema, ("a",)).schema == {}
    assert set(read.relaxed) == {"a.type", "a.not", "a.pattern", "a.$ref", "a.x-guidance"}
    for keyword in schema:
        with pytest.raises(InvalidRequestError) as caught:
            reader(schema).member({keyword: schema[keyword]}, ("a",))
        assert caught.value.param == f"constraint.a.{keyword}"
