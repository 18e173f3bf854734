"""Reads a JSON schema and writes it as the compiler holds it, or names the place and keyword of what cannot be held. Pure.

Schemas come from users, so their size is bounded here: compilers may take more than linear time (for properties, quadratic time).
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import msgspec

from llmcore.grammar.schema_ends import endless
from llmcore.grammar.schema_path import refuse
from llmcore.grammar.schema_writer import SchemaWriter
from llmcore.protocol.json_schema import levels

SIZE_MAX_BYTES = 256 * 1024
DEPTH_MAX = 64
VALUES_MAX = 20_000

# Whitespace that pretty printers write. Without a bound, some models write whitespace until their tokens run out.
_WHITESPACE = r"\x20|\r?\n[\x20\x09]{0,64}"


class HeldSchema(NamedTuple):
    """A JSON schema as the compiler holds it.

    `text` is a schema with llguidance's options: for LLMatcher.grammar_from_json_schema(), or behind %json in a Lark grammar.
    `relaxed` has the paths of the keywords that are not held: "properties.tags.uniqueItems".
    """

    text: str
    relaxed: tuple[str, ...]


def read_schema(raw: bytes) -> dict[str, Any]:
    """Returns a schema as an object. Raises InvalidRequestError for one that is too large, or is no schema."""
    if len(raw) > SIZE_MAX_BYTES:
        raise refuse((), None, f"it has {len(raw)} bytes, and at most {SIZE_MAX_BYTES} are allowed")
    try:
        schema = _DECODER.decode(raw.decode())
    except RecursionError:
        raise refuse((), None, f"it is nested more than {DEPTH_MAX} levels deep") from None
    except ValueError as error:
        raise refuse((), None, f"it is not JSON: {error}") from None
    if isinstance(schema, bool):
        schema = {} if schema else {"enum": []}
    if not isinstance(schema, dict):
        raise refuse((), None, "it must be an object")
    _check_size(schema)
    if b"\\u" in raw:
        try:
            json.dumps(schema, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise refuse((), None, f"it is not valid Unicode: {error.reason}") from None
    return schema


def hold_schema(
    schema: dict[str, Any], *, strict: bool = True, lenient: bool = False, limits_anything: bool = True
) -> HeldSchema:
    """Returns a schema as it is held. Raises InvalidRequestError, whose `param` is "constraint" or a path below it, for keywords
    that cannot be held.

    Args:
        strict: refuse a `oneOf` with alternatives that may overlap, instead of reading it as `anyOf`.
        lenient: leave out keywords that cannot be held, and tell them in `relaxed`.
        limits_anything: bound the digits of numbers within values of which the schema says nothing, too. The compiler cannot
            combine two of those.
    """
    writer = SchemaWriter(schema, strict=strict, lenient=lenient, limits_anything=limits_anything)
    try:
        written, paths = writer.write()
    except RecursionError:
        raise refuse((), None, "its parts refer to each other too deeply") from None
    for place in endless(written) if paths else ():  # without references, every schema with a value has one that ends
        if place is None:
            raise refuse((), None, "no value satisfies it")
        raise refuse(paths.get(place, ()), None, "a value of it contains another one, and so on without an end")
    options = {"whitespace_pattern": _WHITESPACE, "coerce_one_of": True}
    return HeldSchema(msgspec.json.encode({**written, "x-guidance": options}).decode(), writer.reader.relaxed)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text[:40]} is beyond the range of numbers")
    return float(text)


_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)


def _check_size(schema: dict[str, Any]) -> None:
    n = 0
    for depth, level in enumerate(levels(schema), 1):
        n += len(level)
        if n > VALUES_MAX:
            raise refuse((), None, f"it has more than {VALUES_MAX} values")
        if depth > DEPTH_MAX:
            raise refuse((), None, f"it is nested more than {DEPTH_MAX} levels deep")
