"""Hints: request fields that are accepted although their values change nothing here, and told as ignored.

A field is declared as a hint by its type: `Annotated[str, hint()] | None`. decode_known() of unknown_fields.py notes those that
a request has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
from msgspec import Meta, inspect

_KEY = "hint_untold"


def hint(*untold: Any, description: str = "a hint; accepted without effect and told in X-Llmcore-Ignored") -> Meta:
    """Returns the annotation of a hint. Values in `untold` are what the service does in any case, or honours."""
    return Meta(description=description, extra={_KEY: untold})


def hints_in(value: Any, path: str = "") -> list[str]:
    """Returns the path of each hint in a decoded request that has another value than null and its untold ones."""
    found: list[str] = []
    if isinstance(value, msgspec.Struct):
        _collect(value, f"{path}." if path else "", found)
    return found


def _collect(value: msgspec.Struct, prefix: str, found: list[str]) -> None:
    """Adds the paths of hints in `value` to `found`. This runs for every message of every request, so it makes no calls for
    plain texts."""
    plan = _plan(type(value))
    for attribute, name, untold in plan.hints:
        given = getattr(value, attribute)
        if given is not None and given not in untold:
            found.append(prefix + name)
    for attribute, name in plan.nested:
        given = getattr(value, attribute)
        if type(given) is list:
            inside = f"{prefix}{name}[]."
            for each in given:
                if isinstance(each, msgspec.Struct):
                    _collect(each, inside, found)
        elif isinstance(given, msgspec.Struct):
            _collect(given, f"{prefix}{name}.", found)


@dataclass(frozen=True)
class _Plan:
    hints: tuple[tuple[str, str, tuple[Any, ...]], ...]  # attribute, name in JSON, values that are not told
    nested: tuple[tuple[str, str], ...]  # attribute and name of fields whose values may be or have structs


@cache
def _plan(struct: type[msgspec.Struct]) -> _Plan:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    hints, nested = [], []
    for each in info.fields:
        untold = _untold(each.type)
        if untold is not None:
            hints.append((each.name, each.encode_name, untold))
        elif _has_structs(each.type):
            nested.append((each.name, each.encode_name))
    return _Plan(tuple(hints), tuple(nested))


def _untold(kind: inspect.Type) -> tuple[Any, ...] | None:
    """Returns the untold values of a hint's type; None for other types."""
    if isinstance(kind, inspect.UnionType):
        return next((found for each in kind.types if (found := _untold(each)) is not None), None)
    if isinstance(kind, inspect.Metadata):
        extra = kind.extra or {}
        return extra[_KEY] if _KEY in extra else _untold(kind.type)
    return None


def _has_structs(kind: inspect.Type) -> bool:
    """True if a value of this type can be a struct, or can have structs as items."""
    if isinstance(kind, inspect.Metadata):
        return _has_structs(kind.type)
    if isinstance(kind, inspect.UnionType):
        return any(map(_has_structs, kind.types))
    return isinstance(kind, inspect.StructType) or (isinstance(kind, inspect.ListType) and _has_structs(kind.item_type))
