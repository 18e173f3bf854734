"""Media types of streams."""

from __future__ import annotations

import pytest

from llmcore_app.http.stream_type import EVENT_STREAM, NDJSON, stream_type


@pytest.mark.parametrize(
    ("content_type", "found"),
    [
        (b"text/event-stream; charset=utf-8", EVENT_STREAM),
        (b"application/x-ndjson", NDJSON),
        (b"application/json", b""),
        (b"text/event-streams", b""),
    ],
)
def test_stream_type(content_type: bytes, found: bytes) -> None:
    assert stream_type([(b"date", b"now"), (b"content-type", content_type)]) == found


def test_a_response_without_a_type_is_no_stream() -> None:
    assert stream_type([(b"x-request-id", NDJSON)]) == b""
