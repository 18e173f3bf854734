"""Types of the values that a schema allows."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.llama.value_types import ALL_TYPES, value_types

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
