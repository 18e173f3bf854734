"""Checks a JSON schema before it is compiled, and names the place and keyword of what no answer can be constrained to. Pure.

Schemas come from users, so their size is bounded here: compilers may take more than linear time (for properties, quadratic time).
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from llmcore.grammar.schema_path import Path, children, reference_steps, refuse, subschema
from llmcore.protocol.json_schema import UNSUPPORTED_KEYWORDS, levels

SIZE_MAX_BYTES = 256 * 1024
DEPTH_MAX = 64
VALUES_MAX = 20_000
PROPERTIES_MAX = 1000
PATTERN_PROPERTIES_MAX = 50
MULTIPLE_OF_MAX = 10_000

FORMATS = ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")

# Unsupported keywords that have no effect with these values.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "uniqueItems": (False,),
    "unevaluatedItems": (True,),
    "unevaluatedProperties": (True,),
    "propertyNames": (True, {}),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
    "dependencies": ({},),
}
# llguidance's own key, with which a schema could switch off the checks of this module.
_LLGUIDANCE_OPTIONS = "x-guidance"


class HeldSchema(NamedTuple):
    """A JSON schema as the compiler holds it.

    `text` is a schema with llguidance's options: for LLMatcher.grammar_from_json_schema(), or behind %json in a Lark grammar.
    `relaxed` has the paths of the keywords that are not held: "properties.tags.uniqueItems".
    """

    text: str
    relaxed: tuple[str, ...]


def read_schema(raw: bytes, *, strict: bool = True) -> dict[str, Any]:
    """Returns a schema without the keywords that have no effect. Raises InvalidRequestError for one that is too large, or has
    keywords that cannot be honoured.

    Args:
        strict: refuse a `format` that is not supported, instead of removing it.
    """
    if len(raw) > SIZE_MAX_BYTES:
        raise refuse((), None, f"it has {len(raw)} bytes, and at most {SIZE_MAX_BYTES} are allowed")
    try:
        schema = json.loads(raw, parse_constant=_no_constant)
    except RecursionError:
        raise refuse((), None, f"it is nested more than {DEPTH_MAX} levels deep") from None
    except ValueError as error:
        raise refuse((), None, f"it is not JSON: {error}") from None
    if isinstance(schema, bool):
        schema = {} if schema else {"enum": []}
    if not isinstance(schema, dict):
        raise refuse((), None, "it must be an object")
    _check_size(schema)
    return _Reader(schema, strict).read()


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _check_size(schema: dict[str, Any]) -> None:
    n = 0
    for depth, level in enumerate(levels(schema), 1):
        n += len(level)
        if n > VALUES_MAX:
            raise refuse((), None, f"it has more than {VALUES_MAX} values")
        if depth > DEPTH_MAX:
            raise refuse((), None, f"it is nested more than {DEPTH_MAX} levels deep")


class _Reader:
    """Walks the subschemas that can be reached from the root. Those in $defs without a reference are not read."""

    def __init__(self, root: dict[str, Any], strict: bool) -> None:
        self._root = root
        self._strict = strict
        self._todo: list[tuple[Any, Path]] = [(root, ())]
        self._seen: set[int] = set()

    def read(self) -> dict[str, Any]:
        while self._todo:
            schema, path = self._todo.pop()
            if isinstance(schema, dict) and id(schema) not in self._seen:
                self._seen.add(id(schema))
                self._check(schema, path)
        return self._root

    def _check(self, schema: dict[str, Any], path: Path) -> None:
        for keyword, value in list(schema.items()):
            if keyword == _LLGUIDANCE_OPTIONS or keyword in UNSUPPORTED_KEYWORDS:
                if value not in _HARMLESS.get(keyword, ()):
                    raise refuse(path, keyword, "this keyword is not supported")
                del schema[keyword]
        if "format" in schema and str(schema["format"]) not in FORMATS:
            if self._strict:
                raise refuse(path, "format", f"{schema['format']!r} is not among {', '.join(FORMATS)}")
            del schema["format"]
        _check_bounds(schema, path)
        for child, steps in children(schema):
            self._todo.append((child, (*path, *steps)))
        if isinstance(schema.get("$ref"), str):
            self._follow(schema["$ref"], path)

    def _follow(self, ref: str, path: Path) -> None:
        """Follows a reference to a place in this schema; anchors and URLs are left to the compiler."""
        steps = reference_steps(ref)
        if steps is None:
            return
        try:
            self._todo.append((subschema(self._root, steps), steps))
        except (KeyError, IndexError, TypeError, ValueError):
            raise refuse(path, "$ref", f"there is nothing at {ref}") from None


def _check_bounds(schema: dict[str, Any], path: Path) -> None:
    for keyword, most in (("properties", PROPERTIES_MAX), ("patternProperties", PATTERN_PROPERTIES_MAX)):
        value = schema.get(keyword)
        if isinstance(value, dict) and len(value) > most:
            raise refuse(path, keyword, f"more than {most} of them")
    factor = schema.get("multipleOf")
    if isinstance(factor, (int, float)) and not isinstance(factor, bool) and not _is_small(factor):
        raise refuse(path, "multipleOf", f"a number with few digits, up to {MULTIPLE_OF_MAX}, is what is supported")


def _is_small(factor: float) -> bool:
    """Returns True if a multipleOf needs few states: a grammar has as many as the number formed by its digits."""
    if not math.isfinite(factor) or not 0 < factor <= MULTIPLE_OF_MAX:
        return False
    while factor != int(factor):
        factor *= 10
        if factor > MULTIPLE_OF_MAX:
            return False
        factor = round(factor, 9)
    return True
