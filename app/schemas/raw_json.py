"""Fields that keep their JSON as it was sent (msgspec.Raw). In them too, null is the same as absent."""

from __future__ import annotations

from typing import Any

import msgspec

from ..http.errors import invalid

_NULL = b"null"


def raw_field() -> Any:
    """Returns the default of an optional field of type msgspec.Raw. It is JSON's null: msgspec has no type for raw JSON or None."""
    return msgspec.field(default_factory=lambda: msgspec.Raw(_NULL))


def is_absent(raw: msgspec.Raw) -> bool:
    """True if the field is absent or null."""
    return bytes(raw) == _NULL


def raw_text(raw: msgspec.Raw, field: str) -> str:
    """Returns JSON as text. The decoder has checked its syntax only: raises ApiError (400) if it is not UTF-8."""
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError:
        raise invalid("invalid_json", f"Invalid {field}: it is not valid UTF-8", field) from None
