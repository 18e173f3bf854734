"""Replies of Anthropic's API as JSON."""

from __future__ import annotations

import msgspec

from llmcore_app.schemas.anthropic_reply import AnthropicReply, AnthropicUsage, ToolUseContent

USAGE = AnthropicUsage(input_tokens=1, output_tokens=2, cache_read_input_tokens=3, cache_creation_input_tokens=0)


def test_a_message_before_its_answer_has_every_field() -> None:
    found = msgspec.to_builtins(AnthropicReply(id="msg_1", model="m", usage=USAGE))
    assert found == {
        "type": "message",
        "id": "msg_1",
        "model": "m",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "usage": {
            "input_tokens": 1,
            "output_tokens": 2,
            "cache_read_input_tokens": 3,
            "cache_creation_input_tokens": 0,
        },
    }


def test_the_input_of_a_call_is_json_as_the_model_wrote_it() -> None:
    content = ToolUseContent("toolu_1", "f", msgspec.Raw(b'{"x": 1.50}'))
    assert msgspec.json.encode(content) == b'{"type":"tool_use","id":"toolu_1","name":"f","input":{"x": 1.50}}'
