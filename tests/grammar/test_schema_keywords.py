"""Values of keywords, and equality of JSON values."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.grammar.schema_keywords import fault, is_same_value


@pytest.mark.parametrize(
    ("keyword", "value", "problem"),
    [
        ("minLength", 2500, ""),
        ("minLength", 2.0, ""),
        ("maxItems", 1.5, "an integer"),
        ("maxItems", 10**400, "an integer from 0 to"),
        ("minimum", "1", "a number"),
        ("exclusiveMinimum", True, ""),
        ("minimum", True, "a number"),
        ("pattern", 5, "a text"),
        ("anyOf", [], "at least one schema"),
        ("anyOf", [5], "must be schemas"),
        ("prefixItems", [], ""),
        ("items", [], ""),
        ("items", "x", "a schema"),
        ("additionalProperties", False, ""),
        ("properties", [], "an object"),
        ("properties", {str(i): {} for i in range(1001)}, "more than 1000"),
        ("type", ["string", "null"], ""),
        ("type", [], "one of null, boolean"),
        ("required", [1], "a list of names"),
        ("enum", [[2**53 + 1]], "not exact"),
        ("const", 2**60, ""),
        ("const", 2**64, "not exact"),
        ("const", 10**400, "not exact"),
        ("const", {"a": 2**53}, ""),
        ("multipleOf", 0.01, ""),
        ("multipleOf", -5, ""),
        ("multipleOf", 0, "few digits"),
        ("multipleOf", 10**400, "few digits"),
        ("multipleOf", 1.2345678, "few digits"),
        ("title", 5, ""),
    ],
)
def test_values_of_keywords(keyword: str, value: Any, problem: str) -> None:
    found = fault(keyword, value)
    assert problem in found if problem else found == ""


def test_values_are_equal_as_json() -> None:
    assert is_same_value([1, {"a": 1.0}], [1.0, {"a": 1}])
    assert not is_same_value(1, True)
    assert not is_same_value([0], [False])
    assert not is_same_value({"a": 1}, {"b": 1})
