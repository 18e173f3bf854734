"""Schemas that apply to the same value."""

from __future__ import annotations

import pytest

from llmcore.errors import InvalidRequestError
from llmcore.grammar.schema_members import types_of, without_repetitions
from tests.grammar.schemas import members

BASE = {
    "allOf": [{"$ref": "#/$defs/a"}, {"title": "b"}, True],
    "anyOf": [{"type": "object"}, {"$ref": "#/$defs/c"}],
    "$defs": {"a": {"type": ["object", "null"]}, "c": {"type": "null"}},
}


def test_parts_and_targets_of_references_apply_always() -> None:
    found, root = members(BASE)
    assert [each.path for each in found.all_of(root)] == [
        (),
        ("allOf", "0"),
        ("$defs", "a"),
        ("allOf", "1"),
    ]


def test_alternatives_are_possible() -> None:
    found, root = members(BASE)
    paths = [each.path for each in found.possible(found.all_of(root))]
    assert paths[4:] == [("anyOf", "0"), ("anyOf", "1"), ("$defs", "c")]
    assert [each.path for each in found.branches(root, without="anyOf")] == []


def test_a_schema_that_is_a_part_of_itself_is_refused() -> None:
    found, root = members({"type": "object", "allOf": [{"$ref": "#"}]})
    with pytest.raises(InvalidRequestError, match="leads back"):
        found.all_of(root)


def test_long_chains_are_refused() -> None:
    chain = {str(i): {"$ref": f"#/$defs/{i + 1}", "minimum": i} for i in range(200)}
    found, root = members({"$ref": "#/$defs/0", "$defs": {**chain, "200": {}}})
    with pytest.raises(InvalidRequestError, match="references in a row"):
        found.all_of(root)


def test_types_that_all_allow() -> None:
    found, root = members({"allOf": [{"type": ["integer", "string"]}, {"type": "number"}]})
    assert types_of(found.all_of(root)) == ("integer",)
    assert "integer" not in types_of([root])
    assert without_repetitions([root, root]) == (root,)
