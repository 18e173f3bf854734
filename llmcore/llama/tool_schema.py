"""JSON schemas of tools' parameters: what of them llama.cpp's tool-call grammars hold an answer to.

llama.cpp passes over keywords that it does not know, and says so on its error output at best. Here each one is found before: a
strict tool is refused, naming path and keyword; for any other the keyword alone is left out, and the rest still holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from llmcore.llama.pattern_bound import SIZE_MAX, pattern_size

Schema = dict[str, Any]

# Keywords that ask for something which no tool-call grammar can hold (JSON Schema 2020-12, and older names of the same).
_NEVER = frozenset(
    (
        *("not", "if", "then", "else", "dependentSchemas", "dependentRequired", "dependencies", "patternProperties"),
        *("propertyNames", "minProperties", "maxProperties", "unevaluatedProperties", "unevaluatedItems", "contains"),
        *("minContains", "maxContains", "uniqueItems", "multipleOf", "additionalItems", "$dynamicRef", "$recursiveRef"),
    )
)
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_PAIRS = (
    *(("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum")),
    *(("exclusiveMinimum", "exclusiveMaximum"), ("minimum", "exclusiveMaximum"), ("exclusiveMinimum", "maximum")),
)
_STRING = ("pattern", "format", "minLength", "maxLength")
_SHAPE = ("type", "enum", "const", "properties", "required", "additionalProperties", "items", "prefixItems")
_FORMATS = re.compile(r"date|time|date-time|uuid[1-5]?")
# Regular expressions that llama.cpp turns into a grammar: anchored, groups without extensions, few escapes; and those which
# others can be written with.
_PATTERN = re.compile(r"\^(?:[^\\(^$]|\\[dws^$.\[\]()|{}*+?/\-]|\((?!\?)|\(\?:)*\$", re.DOTALL)
_CLASSES = {"d": "0-9", "w": "A-Za-z0-9_", "s": " "}


@dataclass
class RelaxedSchema:
    """A schema without what cannot be held, and what that was: (JSON path, keyword)."""

    schema: Schema
    left_out: list[tuple[str, str]] = field(default_factory=list)


def relax_schema(schema: Schema) -> RelaxedSchema:
    """The part of a schema that a grammar holds an answer to."""
    relaxed = RelaxedSchema({})
    relaxed.schema = _node(schema, "$", relaxed.left_out)
    return relaxed


def _node(schema: Any, path: str, left_out: list[tuple[str, str]]) -> Any:
    if not isinstance(schema, dict):
        # true and false are schemas too; a grammar that allows nothing is none.
        if schema is not True:
            left_out.append((path, "false" if schema is False else "schema"))
        return {}
    dropped = {name for name in schema if _is_lost(name, schema)}
    left_out += [(path, name) for name in schema if name in dropped]
    if "pattern" in schema and "pattern" not in dropped:
        schema = {**schema, "pattern": _plain(schema["pattern"])}
    return {
        name: _inside(name, value, f"{path}.{name}", left_out) for name, value in schema.items() if name not in dropped
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


def _plain(pattern: str) -> str:
    """A pattern without the escapes that llama.cpp does not know."""
    found, is_class = "", False
    for piece in re.findall(r"\\.|.", pattern, re.DOTALL):
        if len(piece) == 2 and piece[1] in _CLASSES:
            found += _CLASSES[piece[1]] if is_class else f"[{_CLASSES[piece[1]]}]"
        else:
            found += piece[1] if piece in ("\\/", "\\-") and not is_class else piece
        is_class = piece == "[" or (is_class and piece != "]")
    return found


def _is_lost(name: str, schema: Schema) -> bool:
    """Whether llama.cpp would pass over a keyword here."""
    if name in _NEVER:
        return True
    if name == "$ref":
        return not (isinstance(schema[name], str) and schema[name].startswith("#/"))
    if name in _SHAPE + _BOUNDS + _STRING + ("allOf", "minItems", "maxItems") and _is_overruled(schema):
        return True
    if any(name in pair and _is_contradiction(schema, *pair) for pair in _PAIRS):
        return True
    if name in _BOUNDS:
        return schema.get("type") != "integer"
    if name == "format":
        return not (isinstance(schema[name], str) and _FORMATS.fullmatch(schema[name]))
    if name == "pattern":
        return not (isinstance(schema[name], str) and _is_pattern(schema[name]))
    if name in ("minLength", "maxLength"):
        return "pattern" in schema or "format" in schema
    return name == "prefixItems" and "items" in schema


def _is_pattern(pattern: str) -> bool:
    """Whether llama.cpp knows such a regular expression, and its matcher is done with it in time."""
    return _PATTERN.fullmatch(pattern) is not None and pattern_size(pattern) <= SIZE_MAX


def _is_contradiction(schema: Schema, low: str, high: str) -> bool:
    """Whether nothing is between two bounds. llama.cpp would not come to an end with them."""
    least, most = schema.get(low), schema.get(high)
    return isinstance(least, (int, float)) and isinstance(most, (int, float)) and least > most


def _is_overruled(schema: Schema) -> bool:
    """A reference and alternatives stand alone: what is beside them is passed over."""
    return any(name in schema for name in ("$ref", "anyOf", "oneOf"))
