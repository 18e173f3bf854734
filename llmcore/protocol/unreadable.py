"""Frames that cannot be decoded: the id of their request or call is found in their bytes, so that it can be failed."""

from __future__ import annotations

import msgspec

_REQUEST_ID, _CALL_ID = (msgspec.msgpack.encode(name) for name in ("request_id", "call_id"))


class Unreadable(msgspec.Struct, frozen=True):
    """A frame that cannot be decoded. `id` is that of its request (str) or of its call (int); None if none was found."""

    id: str | int | None
    problem: str


def unreadable(data: bytes, error: Exception) -> Unreadable:
    """Makes the substitute for a frame that cannot be decoded."""
    return Unreadable(id_in(data), str(error) or type(error).__name__)


def id_in(data: bytes) -> str | int | None:
    """Id of the request or call in a frame. Ids are the first fields, so that texts which look like one come after them."""
    places = [(at, key) for key in (_REQUEST_ID, _CALL_ID) if (at := data.find(key)) >= 0]
    for at, key in sorted(places):
        found = _text(data[at + len(key) :]) if key == _REQUEST_ID else _number(data[at + len(key) :])
        if found is not None:
            return found
    return None


def _text(data: bytes) -> str | None:
    """MessagePack text at the beginning of bytes; None if there is none."""
    first, n_length = (data[0] if data else 0), 0
    if 0xA0 <= first <= 0xBF:
        n = first & 0x1F
    elif first in (0xD9, 0xDA, 0xDB):
        n_length = 1 << (first - 0xD9)
        n = int.from_bytes(data[1 : 1 + n_length], "big")
    else:
        return None
    start = 1 + n_length
    try:
        return data[start : start + n].decode() if len(data) >= start + n else None
    except UnicodeDecodeError:
        return None


def _number(data: bytes) -> int | None:
    """MessagePack integer, zero or positive, at the beginning of bytes; None if there is none."""
    if data and data[0] < 0x80:
        return data[0]
    n = 1 << (data[0] - 0xCC) if data and 0xCC <= data[0] <= 0xCF else 0
    return int.from_bytes(data[1 : 1 + n], "big") if n and len(data) > n else None
