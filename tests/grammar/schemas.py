"""Schemas as this package reads and writes them."""

from __future__ import annotations

import json
from typing import Any

from llmcore.grammar.schema_members import Members
from llmcore.grammar.schema_reader import Member, SchemaReader
from llmcore.grammar.schema_writer import SchemaWriter


def reader(root: dict[str, Any], *, lenient: bool = False) -> SchemaReader:
    return SchemaReader(root, lenient=lenient)


def members(root: dict[str, Any]) -> tuple[Members, Member]:
    """The finder of members of a schema, and the schema itself as one."""
    read = reader(root)
    return Members(read), read.member(root, ())


def written(root: dict[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """A schema as it is written, with scalars in their places instead of references to definitions."""
    found = SchemaWriter(root, strict=strict, lenient=False).write()[0]
    definitions = found.get("$defs", {})

    def inlined(value: Any) -> Any:
        if isinstance(value, list):
            return [inlined(each) for each in value]
        if not isinstance(value, dict):
            return value
        target = definitions.get(str(value.get("$ref")).removeprefix("#/$defs/"))
        if target is not None and "$ref" not in json.dumps(target):
            return target
        return {key: inlined(each) for key, each in value.items() if key != "$defs"}

    result: dict[str, Any] = inlined(found)
    return result
