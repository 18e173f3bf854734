"""Places in a JSON schema: paths to subschemas, and errors that name them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from llmcore.errors import InvalidRequestError

# Keywords whose value is a subschema, a list of subschemas, or an object of subschemas by name.
_ONE = ("items", "additionalItems", "additionalProperties")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_NAMED = ("properties", "patternProperties")


Path = tuple[str, ...]


def refuse(path: Path, keyword: str | None, problem: str) -> InvalidRequestError:
    """Returns the error for a place in the schema, named as a JSON pointer, and a keyword there."""
    place = pointer(path)
    what = f"{keyword!r} at {place}" if keyword else f"at {place}"
    return InvalidRequestError(f"the schema cannot be honoured: {what}: {problem}", param=param(path, keyword))


def pointer(path: Path) -> str:
    """Returns a path as a URI fragment: "#/properties/a"."""
    return "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1").replace("%", "%25") for part in path)


def param(path: Path, keyword: str | None = None) -> str:
    """Returns a path as a field of a request: "constraint.properties.a.not"."""
    return ".".join(["constraint", *path, *([keyword] if keyword else [])])


def reference_steps(ref: Any) -> Path | None:
    """Returns the path of a reference within the same schema; None for any other value."""
    if not isinstance(ref, str) or (ref != "#" and not ref.startswith("#/")):
        return None
    return tuple(unquote(part).replace("~1", "/").replace("~0", "~") for part in ref.split("/")[1:])


def subschema(schema: Any, path: Path) -> Any:
    """Returns the value at a path. Raises KeyError, IndexError, TypeError or ValueError if there is none."""
    for step in path:
        schema = schema[int(step)] if isinstance(schema, list) else schema[step]
    return schema


def children(schema: dict[str, Any]) -> Iterator[tuple[Any, Path]]:
    """Yields the direct subschemas of a schema, each with the path to it. $defs are left out: they count where they are used."""
    for keyword in _ONE:
        if isinstance(schema.get(keyword), dict):
            yield schema[keyword], (keyword,)
    for keyword in _SEVERAL:
        if isinstance(schema.get(keyword), list):
            for index, child in enumerate(schema[keyword]):
                yield child, (keyword, str(index))
    for keyword in _NAMED:
        if isinstance(schema.get(keyword), dict):
            for name, child in schema[keyword].items():
                yield child, (keyword, name)
