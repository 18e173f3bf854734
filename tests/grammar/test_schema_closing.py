"""Closing of objects and numbers that several schemas describe together."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.grammar.schema_closing import closing_number, closing_object, is_open, names_of
from llmcore.grammar.schema_numbers import LARGEST
from llmcore.grammar.schema_reader import Member


def member(name: str, **schema: Any) -> Member:
    return Member(schema, (name,))


A = member("a", properties={"x": {}, "both": {"type": "object"}}, required=["z"])
B = member("b", properties={"y": {}, "both": {"type": "object"}})


@pytest.mark.parametrize(
    ("members", "opened"),
    [
        ([member("a", type="object")], True),
        ([member("a", required=["x"])], True),
        ([member("a", properties={})], False),
        ([A, member("o", additionalProperties={"type": "null"})], True),
        ([member("a", properties={"x": {}}, minProperties=2)], True),
        ([member("a", properties={"x": {}}, minProperties=1)], False),
        ([member("a", patternProperties={"x": ({}, ())}, minProperties=9)], False),
    ],
)
def test_objects_without_names_or_with_additional_properties_are_open(members: list[Member], opened: bool) -> None:
    assert is_open(members) == opened


def test_what_one_part_names_another_does_not_forbid() -> None:
    joined: list[list[Member]] = []

    def joint(children: list[Member]) -> Any:
        joined.append(children)
        return {"closed": True}

    found = closing_object([A, B], [member("c", patternProperties={"^p": ({}, ())})], lambda: {"any": 1}, joint)
    assert found == {
        "properties": {"x": True, "both": {"closed": True}, "y": True, "z": {"any": 1}},
        "patternProperties": {"^p": True},
        "additionalProperties": False,
    }
    assert [[each.path for each in children] for children in joined] == [
        [("a", "properties", "both"), ("b", "properties", "both")]
    ]
    assert names_of([B, A]) == ["y", "both", "x", "z"]


def test_numbers_of_several_parts_have_bounds_unless_they_are_listed() -> None:
    bounds = {"minimum": -LARGEST, "maximum": LARGEST}
    assert closing_number([member("a", type="integer")], ("integer",)) == bounds
    assert closing_number([member("a", type="integer"), member("b", enum=[1])], ("integer",)) == {}
    assert closing_number([member("a", type="string")], ("string",)) == {}
    assert closing_number([member("a", minimum=3)], ("integer", "number")) == {}
