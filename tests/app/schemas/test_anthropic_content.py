"""Content blocks as messages of chat."""

from __future__ import annotations

import pytest

from llmcore_app.schemas.anthropic_content import (
    AnthropicAssistantMessage,
    AnthropicSystemMessage,
    AnthropicUserMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserBlock,
    anthropic_call_id,
    engine_call_id,
    to_messages,
)
from llmcore_app.schemas.messages import AssistantMessage, SystemMessage, TextPart, ToolMessage, UserMessage


def test_messages_of_one_role_in_a_row_are_one_turn() -> None:
    found = to_messages(
        None,
        [
            AnthropicUserMessage("a"),
            AnthropicUserMessage([TextBlock(text="b")]),
            AnthropicAssistantMessage("c"),
            AnthropicAssistantMessage([ToolUseBlock(id="toolu_1", name="f", input={})]),
            AnthropicSystemMessage("d"),
        ],
    )
    user, assistant, system = found
    assert user == UserMessage([TextPart("a"), TextPart("b")])
    assert isinstance(assistant, AssistantMessage)
    assert (assistant.content, [call.id for call in assistant.tool_calls or ()]) == ("c", ["1"])
    assert system == SystemMessage("d")


@pytest.mark.parametrize(
    ("content", "is_error", "text"),
    [
        (None, None, ""),
        ("x", False, "x"),
        ("x", True, "Error: x"),
        ([TextBlock(text="x"), TextBlock(text="y")], None, "xy"),
        (None, True, "Error: "),
    ],
)
def test_the_result_of_a_tool(content: str | list[TextBlock] | None, is_error: bool | None, text: str) -> None:
    block = ToolResultBlock(tool_use_id="toolu_1", content=content, is_error=is_error)
    assert block.to_message() == ToolMessage(text, "1")


def test_results_and_texts_keep_their_order() -> None:
    blocks: list[UserBlock] = [TextBlock(text="a"), ToolResultBlock(tool_use_id="1"), TextBlock(text="b")]
    assert to_messages(None, [AnthropicUserMessage(blocks)]) == [
        UserMessage("a"),
        ToolMessage("", "1"),
        UserMessage("b"),
    ]


def test_an_empty_answer_stays_a_message() -> None:
    assert to_messages("", [AnthropicAssistantMessage([])]) == [AssistantMessage("")]


@pytest.mark.parametrize("id", ["abc", "toolu_", "toolu_toolu_x"])
def test_templates_get_the_engines_ids(id: str) -> None:
    assert engine_call_id(anthropic_call_id(id)) == id
