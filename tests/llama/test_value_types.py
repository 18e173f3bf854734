"""Types of the values that a schema allows."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.llama.value_types import ALL_TYPES, listed_texts, value_types

ROOT = {"$defs": {"a": {"type": "integer"}, "x/y": {"enum": ["a", None]}, "me": {"$ref": "#/$defs/me"}}}


@pytest.mark.parametrize(
    ("schema", "types"),
    [
        ({"type": "string"}, {"string"}),
        ({"type": ["string", "null"]}, {"string", "null"}),
        ({"const": True}, {"boolean"}),
        ({"enum": [1, 1.5, {}, []]}, {"integer", "number", "object", "array"}),
        ({"type": "integer", "enum": [1, "a"]}, {"integer"}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, {"integer", "null"}),
        ({"allOf": [{"type": ["integer", "string"]}, {"type": "string"}]}, {"string"}),
        ({"$ref": "#/$defs/a"}, {"integer"}),
        ({"$ref": "#/$defs/x~1y"}, {"string", "null"}),
        ({"$ref": "#/$defs/nowhere"}, ALL_TYPES),
        ({"$ref": "https://example.com/s"}, ALL_TYPES),
        ({"$ref": "#/$defs/me"}, ALL_TYPES),
        ({}, ALL_TYPES),
        (True, ALL_TYPES),
    ],
)
def test_types_of_values(schema: Any, types: set[str]) -> None:
    assert value_types(schema, ROOT) == types


@pytest.mark.parametrize(
    ("schema", "texts"),
    [
        ({"enum": ["a", "b", "a"], "description": "a or b"}, ("a", "b")),
        ({"type": "string", "const": "a"}, ("a",)),
        ({"$ref": "#/$defs/text", "default": "b"}, ("b",)),
        ({"allOf": [{"$ref": "#/$defs/text"}]}, ("b",)),
        ({"anyOf": [{"const": "a"}, {"enum": ["b"]}]}, ("a", "b")),
        ({"anyOf": [{"const": "a"}, {"type": "string"}]}, ()),
        ({"allOf": [{"const": "a"}, {"const": "b"}]}, ()),
        ({"enum": ["a", None]}, ()),
        ({"enum": ["a"], "pattern": "^b"}, ()),
        ({"type": "integer", "enum": ["a"]}, ()),
        ({"type": "string"}, ()),
        ({"$ref": "#/$defs/me"}, ()),
        ({"enum": "a"}, ()),
        ({"anyOf": "a"}, ()),
        (True, ()),
    ],
)
def test_texts_that_a_schema_lists(schema: Any, texts: tuple[str, ...]) -> None:
    root = {"$defs": {**ROOT["$defs"], "text": {"enum": ["b"]}}}
    assert listed_texts(schema, root) == texts
