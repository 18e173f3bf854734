"""Media types of answers that are sent while they are generated."""

from __future__ import annotations

from collections.abc import Iterable

EVENT_STREAM = b"text/event-stream"
NDJSON = b"application/x-ndjson"


def stream_type(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Returns the media type of a response that is a stream; empty if it is none."""
    content_type = next((value for name, value in headers if name == b"content-type"), b"").partition(b";")[0]
    return content_type if content_type in (EVENT_STREAM, NDJSON) else b""
