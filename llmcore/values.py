"""Values that callers pass: numpy's made plain, wrong ones refused with an error that names the argument."""

from __future__ import annotations

from typing import Any, TypeVar

from llmcore.errors import InvalidRequestError

T = TypeVar("T")

_SHOWN_MAX = 60


def is_numpy(value: Any) -> bool:
    """True if a value is a numpy scalar or array, or converts itself like one."""
    return hasattr(value, "tolist") and not isinstance(value, type)


def plain_value(value: Any) -> Any:
    """Converts a numpy value to a number or list; returns any other value unchanged."""
    return value.tolist() if is_numpy(value) else value


def wrong_value(name: str, wanted: str, value: object) -> InvalidRequestError:
    """Returns the error for a value of a wrong type: "max_tokens must be a whole number, got 1.5"."""
    shown = repr(value)
    if len(shown) > _SHOWN_MAX:
        shown = f"{shown[: _SHOWN_MAX - 3]}..."
    kind = "" if isinstance(value, (int, float)) or value is None else f" ({type(value).__name__})"
    return InvalidRequestError(f"{name} must be {wanted}, got {shown}{kind}", param=name)


def instance_of(kind: type[T], value: object, name: str) -> T:
    """Returns an argument that must be of a class. Raises InvalidRequestError, naming the argument."""
    if not isinstance(value, kind):
        raise wrong_value(name, f"a {kind.__name__}", value)
    return value
