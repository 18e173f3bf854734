"""The events of a streamed message as JSON."""

from __future__ import annotations

import msgspec

from llmcore_app.schemas import anthropic_events as events
from llmcore_app.schemas.anthropic_reply import TextContent


def test_events_have_their_type_first() -> None:
    encode = msgspec.json.encode
    assert encode(events.ContentBlockStart(0, TextContent(""))) == (
        b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"","citations":null}}'
    )
    assert encode(events.ContentBlockDelta(0, events.InputJsonDelta("{"))) == (
        b'{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}'
    )
    assert encode(events.Ping()) == b'{"type":"ping"}'
