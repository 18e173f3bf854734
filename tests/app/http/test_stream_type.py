"""Media types of streams."""

from __future__ import annotations

import pytest

from llmcore_app.http.stream_type import NDJSON, is_stream


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"text/event-stream; charset=utf-8", True),
        (b"application/x-ndjson", True),
        (b"application/json", False),
        (b"text/event-streams", False),
    ],
)
def test_streams(content_type: bytes, expected: bool) -> None:
    assert is_stream([(b"date", b"now"), (b"content-type", content_type)]) is expected


def test_a_response_without_a_type_is_no_stream() -> None:
    assert not is_stream([(b"x-request-id", NDJSON)])
