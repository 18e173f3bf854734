"""Places in a schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmcore.grammar.schema_path import children, param, pointer, reference_steps, refuse, subschema


@given(st.lists(st.sampled_from(["a", "b", "$ref", "not", "properties", "x/y", "~"]), max_size=4))
def test_places_are_json_pointers(path: list[str]) -> None:
    steps = pointer(tuple(path)).split("/")[1:]
    assert [step.replace("~1", "/").replace("~0", "~") for step in steps] == path
    assert param(tuple(path), "not").startswith("constraint.")


def test_subschemas_are_found_in_values_lists_and_names() -> None:
    schema = {
        "items": {"a": 1},
        "anyOf": [{"b": 1}, True],
        "properties": {"x/y": {"c": 1}},
        "$defs": {"d": {}},
        "const": {},
    }
    found = dict((path, child) for child, path in children(schema))
    assert found == {
        ("items",): {"a": 1},
        ("anyOf", "0"): {"b": 1},
        ("anyOf", "1"): True,
        ("properties", "x/y"): {"c": 1},
    }
    assert all(subschema(schema, path) == child for path, child in found.items())


@pytest.mark.parametrize(
    ("ref", "steps"), [("#", ()), ("#/$defs/a~1b/0", ("$defs", "a/b", "0")), ("#anchor", None), (5, None)]
)
def test_references_within_the_schema_are_paths(ref: Any, steps: Any) -> None:
    assert reference_steps(ref) == steps


def test_an_error_names_place_and_keyword() -> None:
    error = refuse(("properties", "a"), "not", "it is not supported")
    assert (error.param, error.message) == (
        "constraint.properties.a.not",
        "the schema cannot be honoured: 'not' at #/properties/a: it is not supported",
    )
