"""Encodings of streamed answers: server-sent events, and JSON lines (NDJSON)."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ..http.stream_type import EVENT_STREAM, NDJSON

_ENCODER = msgspec.json.Encoder()


class StreamEncoding(NamedTuple):
    """The form of a stream's values. Encoded JSON has no line breaks, so that a value is one line."""

    content_type: bytes
    keep_alive: bytes  # sent between two values; clients skip it
    head: bytes  # before each value
    tail: bytes

    def encode(self, value: msgspec.Struct) -> bytes:
        return self.frame(_ENCODER.encode(value))

    def frame(self, json: bytes) -> bytes:
        """Returns an encoded value as a part of the stream."""
        return self.head + json + self.tail

    def headers(self) -> list[tuple[bytes, bytes]]:
        return [
            (b"content-type", self.content_type),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),  # a proxy that buffers would send the whole answer at its end
        ]


SSE = StreamEncoding(EVENT_STREAM + b"; charset=utf-8", b": keep-alive\n\n", b"data: ", b"\n\n")
# Clients parse each line, also an empty one; a space before the next value is part of its line, and JSON allows it.
JSON_LINES = StreamEncoding(NDJSON, b" ", b"", b"\n")
