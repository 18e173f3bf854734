"""Numbers and arrays of numpy's as plain values, without importing numpy."""

from __future__ import annotations

from typing import Any


def is_numpy(value: Any) -> bool:
    """Whether a value is a numpy scalar or array, or converts itself like one."""
    return hasattr(value, "tolist") and not isinstance(value, type)


def plain_value(value: Any) -> Any:
    """The number or list that a numpy value stands for; any other value unchanged."""
    return value.tolist() if is_numpy(value) else value
