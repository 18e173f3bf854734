"""Content blocks: before their first piece, and complete."""

from __future__ import annotations

import msgspec
import pytest

from llmcore.messages import CallDelta
from llmcore_app.answers.anthropic_blocks import SIGNATURE, GrowingText, GrowingThinking, GrowingToolUse
from llmcore_app.schemas.anthropic_reply import TextContent, ThinkingContent


def test_text_and_thinking() -> None:
    text, thinking = GrowingText(0), GrowingThinking(1)
    for block in (text, thinking):
        block.pieces += ["a", "b"]
    assert (text.start(), text.content()) == (TextContent(""), TextContent("ab"))
    assert (thinking.start(), thinking.content()) == (ThinkingContent("", ""), ThinkingContent("ab", SIGNATURE))


@pytest.mark.parametrize(
    ("arguments", "expected"), [('{"a": 1}', b'{"a": 1}'), ("", b"{}"), ('{"a": "b', b"{}"), ("[1]", b"{}")]
)
def test_the_input_of_a_call_is_an_object(arguments: str, expected: bytes) -> None:
    block = GrowingToolUse(0, CallDelta(0, "c1", "f"))
    block.pieces.append(arguments)
    found = block.content()
    assert (found.id, found.name, bytes(found.input)) == ("toolu_c1", "f", expected)
    assert msgspec.json.decode(msgspec.json.encode(block.start()))["input"] == {}
