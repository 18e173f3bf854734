"""Frames that cannot be decoded: whose they are, by what of their bytes can still be read."""

from __future__ import annotations

import msgspec

_REQUEST_ID, _CALL_ID = (msgspec.msgpack.encode(name) for name in ("request_id", "call_id"))


class Unreadable(msgspec.Struct, frozen=True):
    """A frame that cannot be decoded. `id` is the request's (str) or the call's (int), None where it shows none."""

    id: str | int | None
    problem: str


def unreadable(data: bytes, error: Exception) -> Unreadable:
    """Placeholder for a frame that cannot be read."""
    return Unreadable(id_in(data), str(error) or type(error).__name__)


def id_in(data: bytes) -> str | int | None:
    """The id of the request or call that a frame carries. Ids are encoded first, so what others wrote stands behind them."""
    places = [(at, key) for key in (_REQUEST_ID, _CALL_ID) if (at := data.find(key)) >= 0]
    for at, key in sorted(places):
        found = _text(data[at + len(key) :]) if key == _REQUEST_ID else _number(data[at + len(key) :])
        if found is not None:
            return found
    return None


def _text(data: bytes) -> str | None:
    """The MessagePack text that bytes begin with."""
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
    """The MessagePack integer, of zero or more, that bytes begin with."""
    if data and data[0] < 0x80:
        return data[0]
    n = 1 << (data[0] - 0xCC) if data and 0xCC <= data[0] <= 0xCF else 0
    return int.from_bytes(data[1 : 1 + n], "big") if n and len(data) > n else None
