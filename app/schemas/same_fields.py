"""Fields with several names: each of them means the same."""

from __future__ import annotations

from typing import Any

import msgspec

from ..http.errors import invalid


def first_given(request: msgspec.Struct, names: tuple[str, ...]) -> str | None:
    """Returns the name of the first field that has a value."""
    return next((name for name in names if getattr(request, name) is not None), None)


def check_same(request: msgspec.Struct, names: tuple[str, ...]) -> None:
    """Raises ApiError (400) if two of the fields have different values."""
    given: list[tuple[str, Any]] = [(name, getattr(request, name)) for name in names]
    first, *others = [(name, value) for name, value in given if value is not None] or [("", None)]
    for name, value in others:
        if value != first[1]:
            problem = f"{first[0]} ({first[1]}) and {name} ({value}) differ: send one of them"
            raise invalid("invalid_value", problem, first[0])
