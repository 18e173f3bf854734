"""Common parts of all readers of JSON schemas: keywords that no grammar enforces, and a walk with a bound. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Keywords of any draft that restrict the answer and that neither compiler of schemas (llguidance, llama.cpp) enforces.
UNSUPPORTED_KEYWORDS = frozenset(
    (
        *("not", "if", "then", "else", "contains", "minContains", "maxContains", "uniqueItems", "unevaluatedItems"),
        *("dependentRequired", "dependentSchemas", "dependencies", "propertyNames", "unevaluatedProperties"),
        *("$dynamicRef", "$recursiveRef"),
    )
)


def levels(value: Any) -> Iterator[list[tuple[str, Any]]]:
    """Yields the values of a JSON document level by level, the document itself first; each value with its key in an object, or "".

    A level is built when it is asked for, so a caller that stops early bounds the work.
    """
    level = [("", value)]
    while level:
        yield level
        level = [inner for _, each in level for inner in _children(each)]


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from (("", each) for each in value)
