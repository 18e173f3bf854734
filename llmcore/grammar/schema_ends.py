"""Finds recursive schemas of which no value ever ends, and forbids them where a value can do without. Pure.

It works on schemas as they are written for the compiler: all references are to `#/$defs/…`.
"""

from __future__ import annotations

from typing import Any

_PREFIX = "#/$defs/"


def endless(written: dict[str, Any]) -> list[str | None]:
    """Returns the definitions of which no value ends, and None for the schema itself, if that has none either; else none of
    them. Then parts without an end that are not required become false: an answer that began one could never end."""
    ends = _Ends(written.get("$defs", {}))
    if ends.has_end(written):
        ends.prune(written)
        return []
    return [*ends.without, None]


class _Ends:
    """Definitions that have a value that ends, by repetition until no more are found."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self._found: set[str] = set()
        n = -1
        while len(self._found) != n:
            n = len(self._found)
            self._found |= {
                name for name, each in definitions.items() if name not in self._found and self.has_end(each)
            }

    @property
    def without(self) -> list[str]:
        return [name for name in self._definitions if name not in self._found]

    def has_end(self, schema: Any) -> bool:
        if isinstance(schema, bool):
            return schema
        if "$ref" in schema and schema["$ref"].removeprefix(_PREFIX) not in self._found:
            return False
        if "anyOf" in schema and not any(map(self.has_end, schema["anyOf"])):
            return False
        if not all(map(self.has_end, schema.get("allOf", ()))):
            return False
        types = schema.get("type")
        types = [types] if isinstance(types, str) else types
        if types is None or not set(types) <= {"object", "array"}:
            return True
        return ("object" in types and self._object_has_end(schema)) or (
            "array" in types and self._array_has_end(schema)
        )

    def _object_has_end(self, schema: dict[str, Any]) -> bool:
        properties, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        if "patternProperties" in schema:
            others = True
        return all(self.has_end(properties.get(name, others)) for name in schema.get("required", ()))

    def _array_has_end(self, schema: dict[str, Any]) -> bool:
        first, least = schema.get("prefixItems", []), schema.get("minItems", 0)
        needs = [*first[:least], *([schema.get("items", True)] if least > len(first) else [])]
        return all(map(self.has_end, needs))

    def prune(self, written: dict[str, Any]) -> None:
        """Replaces parts without an end by false."""
        if not self.without:
            return
        todo: list[dict[str, Any]] = [written]
        while todo:
            schema = todo.pop()
            for keyword in ("items", "additionalProperties"):
                self._replace(schema, keyword, todo)
            for keyword in ("anyOf", "allOf", "prefixItems"):
                for index in range(len(schema.get(keyword, ()))):
                    self._replace(schema[keyword], index, todo)
            for keyword in ("properties", "patternProperties", "$defs"):
                for name in schema.get(keyword, ()):
                    self._replace(schema[keyword], name, todo)

    def _replace(self, holder: Any, key: str | int, todo: list[dict[str, Any]]) -> None:
        if isinstance(holder, dict) and key not in holder:
            return
        if not self.has_end(holder[key]):
            holder[key] = False
        elif isinstance(holder[key], dict):
            todo.append(holder[key])
