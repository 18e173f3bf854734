"""The search for what a compiler refuses in a schema, with compilers that are functions."""

from __future__ import annotations

from typing import Any

import pytest

from llmcore.grammar.schema_fault import locate


def refuses(keyword: str, value: Any) -> Any:
    """A compiler that does not know a keyword with a value, wherever it can be reached."""

    def compiles(schema: dict[str, Any]) -> str:
        seen: list[Any] = []

        def bad(node: Any) -> bool:
            if isinstance(node, list):
                return any(map(bad, node))
            if not isinstance(node, dict) or any(node is each for each in seen):
                return False
            seen.append(node)
            if node.get(keyword) == value:
                return True
            if isinstance(node.get("$ref"), str) and bad(follow(schema, node["$ref"])):
                return True
            return any(bad(each) for name, each in node.items() if name != "$defs")

        return "refused" if bad(schema) else ""

    return compiles


def follow(schema: Any, ref: str) -> Any:
    for step in ref.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        schema = schema[int(step)] if isinstance(schema, list) else schema[step]
    return schema


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"pattern": "x", "type": "string"}, "constraint.pattern"),
        ({"properties": {"a": {}, "b": {"type": "string", "pattern": "x"}}}, "constraint.properties.b.pattern"),
        ({"properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": {"pattern": "x"}}}, "constraint.$defs.b.pattern"),
        ({"anyOf": [{"items": {"$ref": "#"}}, {"pattern": "x"}]}, "constraint.anyOf.1.pattern"),
    ],
)
def test_the_deepest_place_that_a_compiler_refuses_is_found(schema: dict[str, Any], place: str) -> None:
    fault = locate(schema, "refused", refuses("pattern", "x"))
    error = fault.error()
    assert error.param == place
    assert error.message.endswith("refused")
    assert refuses("pattern", "x")(fault.removed_from(schema)) == ""


def test_the_search_is_bounded() -> None:
    n = 0

    def compiles(_: dict[str, Any]) -> str:
        nonlocal n
        n += 1
        return ""

    locate({"properties": {str(i): {"type": "string"} for i in range(1000)}}, "refused", compiles)
    assert n <= 60
