"""Bounds on the digits of numbers."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.grammar.schema_numbers import LARGEST, limit_digits, read_bounds

LIMIT = 10**18


@pytest.mark.parametrize(
    ("schema", "limited"),
    [
        (
            {"type": "integer"},
            {"type": ["number"], "multipleOf": 1, "exclusiveMinimum": -LIMIT, "exclusiveMaximum": LIMIT},
        ),
        (
            {"type": "integer", "minimum": 0},
            {"type": ["number"], "multipleOf": 1, "minimum": 0, "exclusiveMaximum": LIMIT},
        ),
        (
            {"type": "integer", "multipleOf": 2.5, "exclusiveMaximum": 9},
            {"type": ["number"], "multipleOf": 5, "exclusiveMinimum": -LIMIT, "exclusiveMaximum": 9},
        ),
        ({"type": "integer", "minimum": 0, "maximum": 9}, {"type": "integer", "minimum": 0, "maximum": 9}),
        (
            {"type": "number", "minimum": 0, "maximum": 1},
            {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 1e-9},
        ),
        (
            {"type": "number", "minimum": 1e-12, "maximum": 1},
            {"type": "number", "minimum": 1e-12, "maximum": 1},
        ),
        ({"type": "string"}, {"type": "string"}),
    ],
)
def test_digits_are_limited_where_the_schema_does_not(schema: dict[str, Any], limited: dict[str, Any]) -> None:
    assert limit_digits(schema, (schema["type"],)) == limited


@pytest.mark.parametrize(
    ("schema", "bounds"),
    [
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"maximum": 1, "exclusiveMaximum": False}, {"maximum": 1}),
        ({"minimum": -(2**63), "maximum": 2**63 - 1}, {}),
        ({"maximum": 10**400}, {}),
        ({"minimum": 2**53 + 1}, {"minimum": 2**53 + 2}),
        ({"maximum": 2**53 + 1}, {"maximum": 2**53}),
    ],
)
def test_bounds_are_read(schema: dict[str, Any], bounds: dict[str, Any]) -> None:
    assert read_bounds(schema, ()) == bounds


@pytest.mark.parametrize(("keyword", "value"), [("minimum", LIMIT), ("exclusiveMaximum", -LIMIT)])
def test_bounds_beyond_all_numbers_are_refused(keyword: str, value: int) -> None:
    with pytest.raises(InvalidRequestError, match="at most 18 digits") as caught:
        read_bounds({keyword: value}, ("items",))
    assert caught.value.param == f"constraint.items.{keyword}"


def test_the_largest_double_has_as_many_digits_as_allowed() -> None:
    assert len(str(LARGEST)) == 18
    assert float(LARGEST) == LARGEST
