"""Types of the JSON values that a schema allows. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

ALL_TYPES = frozenset(("string", "number", "integer", "boolean", "object", "array", "null"))

# Keywords that do not restrict a value of the type that they may name.
ANNOTATIONS = frozenset(("type", "title", "description", "default", "examples", "deprecated", "$comment"))

# Bound on references and alternatives that are followed into each other.
_DEPTH_MAX = 32


def value_types(schema: Any, root: Any, depth: int = 0) -> frozenset[str]:
    """Returns the types of the values that a schema allows, or more. `root` is the document that its references point into."""
    if not isinstance(schema, dict) or depth > _DEPTH_MAX:
        return ALL_TYPES
    found = ALL_TYPES & _own_types(schema)
    if isinstance(schema.get("$ref"), str):
        found &= value_types(_target(schema["$ref"], root), root, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        options = schema.get(keyword)
        if isinstance(options, list) and options:
            found &= frozenset[str]().union(*(value_types(each, root, depth + 1) for each in options))
    for each in schema["allOf"] if isinstance(schema.get("allOf"), list) else ():
        found &= value_types(each, root, depth + 1)
    return found


def listed_texts(schema: Any, root: Any, depth: int = 0) -> tuple[str, ...]:
    """Returns the texts that a schema lists as its only values; none if it also allows others, or says more."""
    if not isinstance(schema, dict) or depth > _DEPTH_MAX or "string" not in _own_types(schema):
        return ()
    said = schema.keys() - ANNOTATIONS
    found: list[Any] = []
    if said == {"enum"} and isinstance(schema["enum"], list):
        found = schema["enum"]
    elif said == {"const"}:
        found = [schema["const"]]
    elif said == {"$ref"} and isinstance(schema["$ref"], str):
        return listed_texts(_target(schema["$ref"], root), root, depth + 1)
    elif said in ({"anyOf"}, {"oneOf"}, {"allOf"}):
        [options] = (schema[each] for each in said)
        if not isinstance(options, list) or ("allOf" in said and len(options) != 1):
            return ()
        parts = [listed_texts(each, root, depth + 1) for each in options]
        found = [text for part in parts for text in part] if all(parts) else []
    return tuple(dict.fromkeys(found)) if found and all(isinstance(each, str) for each in found) else ()


def _own_types(schema: dict[str, Any]) -> frozenset[str]:
    kind, found = schema.get("type"), ALL_TYPES
    if isinstance(kind, (str, list)):
        found = frozenset((kind,) if isinstance(kind, str) else map(str, kind))
    if "const" in schema:
        return found & {_type_of(schema["const"])}
    return found & frozenset(map(_type_of, schema["enum"])) if isinstance(schema.get("enum"), list) else found


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    for kind, name in ((str, "string"), (int, "integer"), (float, "number"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "object"


def _target(ref: str, root: Any) -> Any:
    """Returns what a reference points to; None if there is no such place in this document."""
    if ref != "#" and not ref.startswith("#/"):
        return None
    try:
        for part in ref.split("/")[1:]:
            step = unquote(part).replace("~1", "/").replace("~0", "~")
            root = root[int(step)] if isinstance(root, list) else root[step]
    except (KeyError, IndexError, TypeError, ValueError):
        return None
    return root
