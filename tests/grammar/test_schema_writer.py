"""Schemas as they are written for the compiler: what is closed, what is shared, and what stays open."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.grammar.schema_writer import SchemaWriter
from tests.grammar.schemas import written

NULL = {"type": "null"}


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ({"type": "object", "properties": {"a": NULL}}, ["a"]),
        ({"type": "object", "properties": {}}, []),
        ({"type": "object", "properties": {"a": NULL}, "required": ["b"]}, ["a", "b"]),
        ({"$ref": "#/$defs/x", "title": "t", "$defs": {"x": {"type": "object", "properties": {"a": NULL}}}}, ["a"]),
        ({"allOf": [{"type": "object", "properties": {"a": NULL}}]}, ["a"]),
    ],
)
def test_objects_are_closed(schema: dict[str, Any], names: list[str]) -> None:
    found = written(schema)
    assert (list(found["properties"]), found["additionalProperties"]) == (names, False)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"a": NULL}, "additionalProperties": True},
        {"type": "object", "properties": {"a": NULL}, "additionalProperties": {}},
        {"type": "object", "properties": {"a": NULL}, "minProperties": 2},
    ],
)
def test_objects_are_open_where_they_must_or_where_the_schema_says(schema: dict[str, Any]) -> None:
    assert written(schema)["additionalProperties"] == {"$ref": "#/$defs/anything"}


def test_parts_of_an_object_are_closed_together() -> None:
    base = {"type": "object", "properties": {"a": NULL}, "patternProperties": {"^n_": NULL}}
    found = written({"allOf": [{"$ref": "#/$defs/b"}, {"properties": {"c": NULL}}], "$defs": {"b": base}})
    *parts, closing = found["allOf"]
    assert ["additionalProperties" in part for part in parts] == [False, False]
    assert closing["properties"] == {"a": True, "c": True}
    assert len(closing["patternProperties"]) == 1
    assert closing["additionalProperties"] is False


def test_each_alternative_is_closed_with_what_stands_around_it() -> None:
    branches = [{"properties": {"x": NULL}}, {"properties": {"y": NULL}}]
    found = written({"type": "object", "properties": {"k": {"type": "string"}}, "anyOf": branches})
    assert [list(each["properties"]) for each in found["anyOf"]] == [["x", "k"], ["y", "k"]]
    assert [each["additionalProperties"] for each in found["anyOf"]] == [False, False]
    assert "additionalProperties" not in found


def test_a_property_of_several_parts_is_closed_with_all_of_them() -> None:
    def part(name: str) -> dict[str, Any]:
        return {"type": "object", "properties": {"p": {"type": "object", "properties": {name: NULL}}}}

    found = written({"allOf": [part("x"), part("y")]})
    closing = found["allOf"][-1]["properties"]["p"]
    assert closing["properties"] == {"x": True, "y": True}
    assert closing["additionalProperties"] is False


def test_a_definition_that_is_a_part_elsewhere_stays_closed_alone() -> None:
    base = {"type": "object", "properties": {"a": NULL}}
    schema = {
        "type": "object",
        "properties": {"alone": {"$ref": "#/$defs/b"}, "more": {"$ref": "#/$defs/b", "properties": {"c": NULL}}},
        "$defs": {"b": base},
    }
    found = written(schema)["properties"]
    assert found["alone"] == {**base, "additionalProperties": False}
    assert found["more"]["allOf"][-1]["properties"] == {"c": True, "a": True}


def test_scalars_that_take_long_to_compile_are_compiled_once() -> None:
    when = {"type": "string", "format": "date"}
    schema = {
        "type": "object",
        "properties": {"a": when, "b": when, "c": {"type": "integer"}, "d": {"type": "integer"}},
    }
    found = SchemaWriter(schema, strict=True, lenient=False).write()[0]
    references = [each["$ref"] for each in found["properties"].values()]
    assert references[0] == references[1] != references[2] == references[3]
    assert len(found["$defs"]) == 2


def test_one_of_is_any_of_where_alternatives_exclude_each_other_or_without_strict() -> None:
    overlapping = {"oneOf": [{"type": "integer"}, {"type": "number"}]}
    assert len(written(overlapping, strict=False)["anyOf"]) == 2
    with pytest.raises(InvalidRequestError, match="may overlap"):
        written(overlapping)
    assert "anyOf" in written({"oneOf": [{"type": "integer"}, NULL]})


def test_combinations_are_bounded() -> None:
    parts = [{"anyOf": [{"properties": {f"p{i}{j}": NULL}} for j in range(20)]} for i in range(20)]
    wide = {"type": "object", "properties": {f"o{i}": {"allOf": parts, "anyOf": parts} for i in range(100)}}
    with pytest.raises(InvalidRequestError, match=r"too many ways|apply to one value"):
        written(wide)
