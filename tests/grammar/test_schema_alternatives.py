"""Alternatives of a oneOf that exclude each other, and such that may not."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.grammar.schema_alternatives import Alternatives
from llmcore.grammar.schema_members import Members
from tests.grammar.schemas import reader


def are_exclusive(*branches: Any, **definitions: Any) -> bool:
    root = {"oneOf": list(branches), "$defs": definitions}
    read = reader(root)
    return Alternatives(Members(read), read).are_exclusive(read.member(root, ()))


def kind(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"kind": {"const": name}, **more}, "required": ["kind"]}


@pytest.mark.parametrize(
    "branches",
    [
        [{"type": "integer"}, {"type": "string"}],
        [{"enum": [1, "a"]}, {"const": True}, {"enum": [2]}],
        [kind("a"), kind("b"), {"type": "null"}],
        [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}],
        [{"allOf": [kind("a"), {"properties": {"x": {}}}]}, kind("b")],
        [{"type": "integer", "maximum": 3}, {"type": "number", "exclusiveMinimum": 3}],
        [{"anyOf": [{"const": 1}, {"const": 2}]}, {"const": 3}],
        [{"type": "object", "required": ["x"]}, {"type": "object", "properties": {"x": False}}],
        [False, {}],
    ],
)
def test_alternatives_that_exclude_each_other(branches: list[Any]) -> None:
    assert are_exclusive(*branches, a=kind("a"), b=kind("b"))


@pytest.mark.parametrize(
    "branches",
    [
        [{"type": "integer"}, {"type": "number"}],
        [{"properties": {"a": {}}, "required": ["a"]}, {"properties": {"b": {}}, "required": ["b"]}],
        [{"type": "object", "properties": {"kind": {"const": "a"}}}, kind("b")],
        [{"type": "integer", "maximum": 3}, {"type": "number", "minimum": 3}],
        [{"enum": [1]}, {"enum": [1.0]}],
        [True, {"type": "null"}],
        [{"type": "string", "pattern": "a"}, {"type": "string", "pattern": "b"}],
    ],
)
def test_alternatives_that_may_overlap(branches: list[Any]) -> None:
    assert not are_exclusive(*branches) or branches[1] == kind("b")


def test_a_recursive_comparison_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}
    assert not are_exclusive({"$ref": "#/$defs/node"}, {"$ref": "#/$defs/node"}, node=node)
