"""Encodings of streams: what their clients read."""

from __future__ import annotations

import json

from llmcore_app.answers.stream_encoding import JSON_LINES, SSE
from llmcore_app.schemas.cancel_reply import CancelReply

VALUE = CancelReply("line\nbreak\r\u2028", 1)


def test_an_event_is_one_data_line() -> None:
    event = SSE.encode(VALUE)
    assert event.endswith(b"}\n\n")
    assert event.count(b"\n") == 2
    assert json.loads(event.removeprefix(b"data: "))["id"] == VALUE.id


def test_a_line_is_one_value_also_after_a_keep_alive() -> None:
    stream = JSON_LINES.encode(VALUE) + JSON_LINES.keep_alive + JSON_LINES.keep_alive + JSON_LINES.encode(VALUE)
    lines = stream.decode().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line)["id"] for line in lines] == [VALUE.id, VALUE.id]
