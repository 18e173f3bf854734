"""What a JSON schema asks for that an answer cannot be held to, by place and keyword. Pure: knows no compiler.

Schemas of strangers are bounded here, before anything is compiled: what a compiler does with them may take more than linear
time (properties, say, take quadratic time).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from llmcore.errors import InvalidRequestError

SIZE_MAX_BYTES = 256 * 1024
DEPTH_MAX = 64
VALUES_MAX = 20_000
PROPERTIES_MAX = 1000
PATTERN_PROPERTIES_MAX = 50
MULTIPLE_OF_MAX = 10_000

# Compiling again and again to find what is wrong: so often, and so much of a schema in all.
_TRIES_MAX, _TRIED_BYTES_MAX = 60, 4 * 1024 * 1024

FORMATS = ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")

# Keywords of any draft that would have to change the answer.
UNSUPPORTED = frozenset(
    (
        *("not", "if", "then", "else", "contains", "minContains", "maxContains", "uniqueItems", "unevaluatedItems"),
        *("dependentRequired", "dependentSchemas", "dependencies", "propertyNames", "unevaluatedProperties"),
        *("$dynamicRef", "$recursiveRef"),
    )
)
# With these values they change nothing.
_HARMLESS: dict[str, tuple[Any, ...]] = {
    "uniqueItems": (False,),
    "unevaluatedItems": (True,),
    "unevaluatedProperties": (True,),
    "propertyNames": (True, {}),
    "dependentRequired": ({},),
    "dependentSchemas": ({},),
    "dependencies": ({},),
}
# llguidance's own key, by which a schema could turn off what is refused here.
_OPTIONS = "x-guidance"

# Where subschemas stand: in the keyword's value, in a list of them, or by name.
_ONE = ("items", "additionalItems", "additionalProperties")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
_NAMED = ("properties", "patternProperties")

# What other keywords belong to: if one of those is at fault, it is not these.
_SHAPE = ("type", "properties", "required", "items", "prefixItems", "$defs", "definitions")

Path = tuple[str, ...]


def refuse(path: Path, keyword: str | None, problem: str) -> InvalidRequestError:
    """The error that names a place in the schema, as a JSON pointer, and the keyword."""
    place = pointer(path)
    what = f"{keyword!r} at {place}" if keyword else f"at {place}"
    return InvalidRequestError(f"the schema cannot be honoured: {what}: {problem}", param=param(path, keyword))


def pointer(path: Path) -> str:
    """As a URI fragment: "#/properties/a"."""
    return "#" + "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def param(path: Path, keyword: str | None = None) -> str:
    """As a field of a request: "constraint.properties.a.not"."""
    return ".".join(["constraint", *path, *([keyword] if keyword else [])])


def read_schema(raw: bytes, *, strict: bool = True) -> dict[str, Any]:
    """A schema without what changes nothing. Raises InvalidRequestError for one that is too large, or asks for what cannot be
    honoured."""
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
    level: list[Any] = [schema]
    n = depth = 0
    while level:
        n, depth = n + len(level), depth + 1
        if n > VALUES_MAX:
            raise refuse((), None, f"it has more than {VALUES_MAX} values")
        if depth > DEPTH_MAX:
            raise refuse((), None, f"it is nested more than {DEPTH_MAX} levels deep")
        level = [child for each in level for child in _values(each)]


def _values(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


class _Reader:
    """Walks the subschemas that can be reached from the root; those in $defs that nobody refers to are never looked at."""

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
            if keyword == _OPTIONS or keyword in UNSUPPORTED:
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
        """To a place in this schema; anchors and addresses are left to the compiler."""
        steps = _steps(ref)
        if steps is None:
            return
        try:
            self._todo.append((_at(self._root, steps), steps))
        except (KeyError, IndexError, TypeError, ValueError):
            raise refuse(path, "$ref", f"there is nothing at {ref}") from None


def _steps(ref: Any) -> Path | None:
    """Of a reference to a place in the same schema; None for any other."""
    if not isinstance(ref, str) or (ref != "#" and not ref.startswith("#/")):
        return None
    return tuple(unquote(part).replace("~1", "/").replace("~0", "~") for part in ref.split("/")[1:])


def _at(schema: Any, path: Path) -> Any:
    for step in path:
        schema = schema[int(step)] if isinstance(schema, list) else schema[step]
    return schema


def children(schema: dict[str, Any]) -> Iterator[tuple[Any, Path]]:
    """The subschemas of one, and the steps to each. $defs are none: they count where they are referred to."""
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


def _check_bounds(schema: dict[str, Any], path: Path) -> None:
    for keyword, most in (("properties", PROPERTIES_MAX), ("patternProperties", PATTERN_PROPERTIES_MAX)):
        value = schema.get(keyword)
        if isinstance(value, dict) and len(value) > most:
            raise refuse(path, keyword, f"more than {most} of them")
    factor = schema.get("multipleOf")
    if isinstance(factor, (int, float)) and not isinstance(factor, bool) and not _is_small(factor):
        raise refuse(path, "multipleOf", f"a number with few digits, up to {MULTIPLE_OF_MAX}, is what is supported")


def _is_small(factor: float) -> bool:
    """A grammar needs as many states as the number that its digits make."""
    if not math.isfinite(factor) or not 0 < factor <= MULTIPLE_OF_MAX:
        return False
    while factor != int(factor):
        factor *= 10
        if factor > MULTIPLE_OF_MAX:
            return False
        factor = round(factor, 9)
    return True


# --- What a compiler refuses, and where -------------------------------------------------------------------------------

# "" where a schema compiles, or the compiler's words.
Compiles = Callable[[dict[str, Any]], str]


def locate(schema: dict[str, Any], problem: str, compiles: Compiles) -> InvalidRequestError:
    """The error for a schema that a compiler refused with `problem`, naming the place and the keyword: the deepest subschema
    that it refuses too, and the keyword without which it does not."""
    search = _Search(schema, compiles)
    path, problem = search.deepest((), problem)
    return refuse(path, search.keyword(path), _plain(problem))


def _plain(problem: str) -> str:
    if problem.startswith("oneOf constraints are not supported"):
        return "its alternatives may overlap, and that only one of them matches cannot be held; say anyOf, or do without strict"
    return problem.partition("\n  while processing")[0]


class _Search:
    """A subschema is tried as a reference into a copy of the whole, so that its own references lead where they led. But not to
    the subschemas around it that were refused already: what refers back to those would be refused for their faults."""

    def __init__(self, schema: dict[str, Any], compiles: Compiles) -> None:
        self._root = schema
        self._compiles = compiles
        size = max(len(json.dumps(schema)), 1)
        self._n_left = min(_TRIES_MAX, max(_TRIED_BYTES_MAX // size, 1))
        self._seen: set[Path] = {()}
        self._refused: set[Path] = set()

    def deepest(self, path: Path, problem: str) -> tuple[Path, str]:
        self._refused.add(path)
        for each in self._below(path):
            self._seen.add(each)
            message = self._try(self._root, each)
            if message:
                return self.deepest(each, message)
        return path, problem

    def _below(self, path: Path) -> list[Path]:
        """Where the subschemas of one stand, the one that it refers to among them."""
        schema = _at(self._root, path)
        found = [(*path, *steps) for child, steps in children(schema) if isinstance(child, dict)]
        target = _steps(schema.get("$ref"))
        if target is not None and isinstance(_at(self._root, target), dict):
            found.append(target)
        return [each for each in found if each not in self._seen]

    def keyword(self, path: Path) -> str | None:
        """The one that is at fault, in the subschema at `path`."""
        for keyword in sorted(_at(self._root, path), key=_SHAPE.__contains__):
            changed = json.loads(json.dumps(self._root))
            del _at(changed, path)[keyword]
            if self._n_left and not self._try(changed, path):
                return str(keyword)
        return None

    def _try(self, root: dict[str, Any], path: Path) -> str:
        if not self._n_left:
            return ""
        self._n_left -= 1
        moved: dict[str, Any] = _move_refs(root, self._refused)
        return self._compiles({"$ref": pointer(("$defs", "whole", *path)), "$defs": {"whole": moved}})


def _move_refs(value: Any, without: set[Path]) -> Any:
    """A copy whose references into the schema lead to its place under $defs/whole, `without` those to some places."""
    if isinstance(value, list):
        return [_move_refs(each, without) for each in value]
    if not isinstance(value, dict):
        return value
    copy = {key: _move_refs(each, without) for key, each in value.items()}
    steps = _steps(value.get("$ref"))
    if steps in without:
        del copy["$ref"]
    elif steps is not None:
        copy["$ref"] = "#/$defs/whole" + value["$ref"][1:]
    return copy
