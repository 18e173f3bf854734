"""JSON schemas of tools' parameters: which keywords llama.cpp's tool-call grammars enforce.

llama.cpp ignores keywords that it does not know, at best with a line on stderr. Here each of them is found first: a strict tool is
refused, naming path and keyword; for other tools, the keyword is left out and the rest still applies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from llmcore.llama.pattern_bound import SIZE_MAX, pattern_size
from llmcore.protocol.json_schema import UNSUPPORTED_KEYWORDS

Schema = dict[str, Any]

# Keywords that llama.cpp's tool-call grammars do not enforce (JSON Schema 2020-12, and older names of the same).
_UNSUPPORTED = UNSUPPORTED_KEYWORDS | {
    *("patternProperties", "minProperties", "maxProperties", "multipleOf", "additionalItems"),
}
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_PAIRS = (
    *(("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum")),
    *(("exclusiveMinimum", "exclusiveMaximum"), ("minimum", "exclusiveMaximum"), ("exclusiveMinimum", "maximum")),
)
_STRING = ("pattern", "format", "minLength", "maxLength")
_SHAPE = ("type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems")
_FORMATS = re.compile(r"date|time|date-time|uuid[1-5]?")
# Regular expressions that llama.cpp turns into a grammar: anchored, groups without extensions, few escapes. _CLASSES are escapes
# that can be rewritten.
_PATTERN = re.compile(r"\^(?:[^\\(^$]|\\[dws^$.\[\]()|{}*+?/\-]|\((?!\?)|\(\?:)*\$", re.DOTALL)
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " "}


@dataclass
class RelaxedSchema:
    """A schema without the keywords that are not enforced; `left_out` has their JSON path and name."""

    schema: Schema
    left_out: list[tuple[str, str]] = field(default_factory=list)


def relax_schema(schema: Schema) -> RelaxedSchema:
    """Returns the part of a schema that a grammar enforces."""
    relaxed = RelaxedSchema({})
    relaxed.schema = _node(schema, "$", relaxed.left_out)
    return relaxed


def _node(schema: Any, path: str, left_out: list[tuple[str, str]]) -> Any:
    if not isinstance(schema, dict):
        # true and false are schemas, too. No grammar expresses false, which allows nothing.
        if schema is not True:
            left_out.append((path, "false" if schema is False else "schema"))
        return {}
    ignored = {name for name in schema if _is_ignored(name, schema)}
    left_out += [(path, name) for name in schema if name in ignored]
    if "pattern" in schema and "pattern" not in ignored:
        schema = {**schema, "pattern": _rewritten(schema["pattern"])}
    return {
        name: _inside(name, value, f"{path}.{name}", left_out) for name, value in schema.items() if name not in ignored
    }


def _inside(name: str, value: Any, path: str, left_out: list[tuple[str, str]]) -> Any:
    if name in ("properties", "$defs", "definitions") and isinstance(value, dict):
        return {key: _node(inner, f"{path}.{key}", left_out) for key, inner in value.items()}
    if name in ("anyOf", "oneOf", "allOf", "prefixItems") or (name == "items" and isinstance(value, list)):
        return (
            [_node(inner, f"{path}[{i}]", left_out) for i, inner in enumerate(value)]
            if isinstance(value, list)
            else value
        )
    if name == "items" or (name == "additionalProperties" and not isinstance(value, bool)):
        return _node(value, path, left_out)
    return value


def _rewritten(pattern: str) -> str:
    """Returns an equivalent pattern without the escapes that llama.cpp does not know."""
    found, is_class = "", False
    for part in re.findall(r"\\.|.", pattern, re.DOTALL):
        if len(part) == 2 and part[1] in _CLASSES:
            found += _CLASSES[part[1]] if is_class else f"[{_CLASSES[part[1]]}]"
        else:
            found += part[1] if part in ("\\/", "\\-") and not is_class else part
        is_class = part == "[" or (is_class and part != "]")
    return found


def _is_ignored(name: str, schema: Schema) -> bool:
    """Returns True if llama.cpp would ignore this keyword of this schema."""
    if name in _UNSUPPORTED:
        return True
    if name == "$ref":
        return not (isinstance(schema[name], str) and schema[name].startswith("#/"))
    if name in _SHAPE + _BOUNDS + _STRING + ("allOf", "minItems", "maxItems") and _has_alternatives(schema):
        return True
    if any(name in pair and _is_contradiction(schema, *pair) for pair in _PAIRS):
        return True
    if name in _BOUNDS:
        return schema.get("type") != "integer"
    if name == "format":
        return not (isinstance(schema[name], str) and _FORMATS.fullmatch(schema[name]))
    if name == "pattern":
        return not (isinstance(schema[name], str) and _is_supported_pattern(schema[name]))
    if name in ("minLength", "maxLength"):
        return "pattern" in schema or "format" in schema
    return name == "prefixItems" and "items" in schema


def _is_supported_pattern(pattern: str) -> bool:
    """Returns True if llama.cpp supports a regular expression, and it is small enough to be matched in time."""
    return _PATTERN.fullmatch(pattern) is not None and pattern_size(pattern) <= SIZE_MAX


def _is_contradiction(schema: Schema, low: str, high: str) -> bool:
    """Returns True if a lower bound exceeds its upper bound: llama.cpp would not terminate."""
    least, most = schema.get(low), schema.get(high)
    return isinstance(least, (int, float)) and isinstance(most, (int, float)) and least > most


def _has_alternatives(schema: Schema) -> bool:
    """Returns True if a schema has a reference or alternatives: llama.cpp ignores all other keywords beside them."""
    return any(name in schema for name in ("$ref", "anyOf", "oneOf"))
