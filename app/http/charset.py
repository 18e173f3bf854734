"""Character encoding of JSON bodies: UTF-8, with or without a byte order mark. Others are refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llmcore.log import cut

from .errors import ApiError, invalid

_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([^\s\"';,]+)", re.IGNORECASE)
_ACCEPTED = frozenset({"utf-8", "utf8", "utf-8-sig", "us-ascii", "ascii"})
_UTF8_MARK = b"\xef\xbb\xbf"
# Beginnings of JSON in other encodings: their byte order marks, then one character of ASCII. The longest come first.
_OTHERS = (
    (re.compile(rb"\xff\xfe\x00\x00|[\x01-\x7f]\x00\x00\x00", re.DOTALL), "UTF-32"),
    (re.compile(rb"\x00\x00\xfe\xff|\x00\x00\x00[\x01-\x7f]", re.DOTALL), "UTF-32"),
    (re.compile(rb"\xff\xfe|\xfe\xff|[\x01-\x7f]\x00|\x00[\x01-\x7f]", re.DOTALL), "UTF-16"),
)


def check_charset(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raises ApiError (400) if Content-Type has a charset other than UTF-8. A missing or odd Content-Type is accepted."""
    for name, value in headers:
        matched = _CHARSET.search(value.decode("latin-1")) if name.lower() == b"content-type" else None
        if matched and matched[1].lower() not in _ACCEPTED:
            raise _refused(f"Content-Type has the charset {cut(matched[1])!r}")


def strip_byte_order_mark(body: bytes) -> bytes:
    """Returns a body without the mark of UTF-8. Raises ApiError (400) if the body is UTF-16 or UTF-32."""
    if body.startswith(_UTF8_MARK):
        return body[len(_UTF8_MARK) :]
    for beginning, name in _OTHERS:
        if beginning.match(body):
            raise _refused(f"The body is {name}")
    return body


def _refused(what: str) -> ApiError:
    return invalid("unsupported_charset", f"{what}: send JSON as UTF-8.")
