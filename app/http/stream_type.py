"""Media types of answers that are sent while they are generated."""

from __future__ import annotations

from collections.abc import Iterable

EVENT_STREAM = b"text/event-stream"
NDJSON = b"application/x-ndjson"


def is_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if a response with these headers is a stream."""
    content_type = next((value for name, value in headers if name == b"content-type"), b"").partition(b";")[0]
    return content_type in (EVENT_STREAM, NDJSON)
