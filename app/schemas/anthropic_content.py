"""Messages of Anthropic's API in requests: content blocks, and their conversion to the messages of a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ..http.errors import invalid
from .messages import AssistantMessage, Content, Message, SystemMessage, TextPart, ToolMessage, UserMessage
from .tools import CalledFunction, SentToolCall
from .unsupported_fields import Hint

# Parts of an answer that clients send back, although templates have no place for them.
Returned = Annotated[Any, Meta(description="accepted without effect: a part of an earlier answer")]

# Before an id of the engine. Some templates check the form of ids, so they get them without it.
CALL_ID_PREFIX = "toolu_"
# Templates have no other place for the fact that a tool has failed.
ERROR_PREFIX = "Error: "


class TextBlock(msgspec.Struct, tag_field="type", tag="text", kw_only=True, forbid_unknown_fields=True):
    text: str
    cache_control: Hint = None
    citations: Returned = None


class ThinkingBlock(msgspec.Struct, tag_field="type", tag="thinking", kw_only=True, forbid_unknown_fields=True):
    """Reasoning of an earlier answer, for templates that show it."""

    thinking: str
    signature: Returned = None


class RedactedThinkingBlock(
    msgspec.Struct, tag_field="type", tag="redacted_thinking", kw_only=True, forbid_unknown_fields=True
):
    """Encrypted reasoning of another service: left out."""

    data: Returned = None


class ToolUseBlock(msgspec.Struct, tag_field="type", tag="tool_use", kw_only=True, forbid_unknown_fields=True):
    id: Annotated[str, Meta(min_length=1)]
    name: str
    input: dict[str, msgspec.Raw]
    cache_control: Hint = None
    caller: Returned = None
    toolset_name: Returned = None

    def to_call(self) -> SentToolCall:
        """Returns the call in the form of a chat request. Raises ApiError (400)."""
        try:
            arguments = msgspec.json.encode(self.input).decode()
        except UnicodeDecodeError:  # the decoder has checked the syntax of raw JSON only
            raise invalid("invalid_json", "The input of a tool_use block is not valid UTF-8", "messages") from None
        return SentToolCall(id=engine_call_id(self.id), function=CalledFunction(self.name, arguments))


class ToolResultBlock(msgspec.Struct, tag_field="type", tag="tool_result", kw_only=True, forbid_unknown_fields=True):
    """Result of a tool. Its text begins with "Error: " if the tool has failed."""

    tool_use_id: Annotated[str, Meta(min_length=1, description="of a tool_use in a message before")]
    content: str | list[TextBlock] | None = None
    is_error: bool | None = None
    cache_control: Hint = None
    toolset_name: Returned = None

    def to_message(self) -> ToolMessage:
        blocks = [TextBlock(text=self.content)] if isinstance(self.content, str) else self.content or []
        if self.is_error:
            blocks = [TextBlock(text=ERROR_PREFIX), *blocks]
        # One string: the parts of a list would stand on lines of their own.
        return ToolMessage("".join(block.text for block in blocks), engine_call_id(self.tool_use_id))


UserBlock = TextBlock | ToolResultBlock
AssistantBlock = TextBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock


class AnthropicSystemMessage(msgspec.Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    content: str | list[TextBlock]


class AnthropicUserMessage(msgspec.Struct, tag_field="role", tag="user", forbid_unknown_fields=True):
    content: str | Annotated[list[UserBlock], Meta(min_length=1)]


class AnthropicAssistantMessage(msgspec.Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    content: str | list[AssistantBlock]


AnthropicMessage = AnthropicSystemMessage | AnthropicUserMessage | AnthropicAssistantMessage


@dataclass
class _AssistantTurn:
    """One turn of the assistant, which may be several messages in a row."""

    texts: list[TextBlock] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    calls: list[SentToolCall] = field(default_factory=list)

    def add(self, content: str | list[AssistantBlock]) -> None:
        for block in [TextBlock(text=content)] if isinstance(content, str) else content:
            if isinstance(block, TextBlock):
                self.texts.append(block)
            elif isinstance(block, ThinkingBlock):
                self.thoughts.append(block.thinking)
            elif isinstance(block, ToolUseBlock):
                self.calls.append(block.to_call())

    def message(self) -> AssistantMessage:
        content = _content(self.texts) if self.texts or not self.calls else None
        return AssistantMessage(content, self.calls or None, "".join(self.thoughts) or None)


def to_messages(system: str | list[TextBlock] | None, messages: Sequence[AnthropicMessage]) -> list[Message]:
    """Returns the messages that a chat request would have. Messages of one role in a row are one turn."""
    found: list[Message] = [SystemMessage(_text_or_blocks(system))] if system else []
    turn: _AssistantTurn | None = None
    texts: list[TextBlock] = []  # of a user's turn
    for message in messages:
        if not isinstance(message, AnthropicAssistantMessage) and turn is not None:
            found.append(turn.message())
            turn = None
        if not isinstance(message, AnthropicUserMessage):
            found += _user_messages(texts)
        if isinstance(message, AnthropicAssistantMessage):
            turn = turn or _AssistantTurn()
            turn.add(message.content)
        elif isinstance(message, AnthropicSystemMessage):
            found.append(SystemMessage(_text_or_blocks(message.content)))
        else:
            for block in [TextBlock(text=message.content)] if isinstance(message.content, str) else message.content:
                if isinstance(block, TextBlock):
                    texts.append(block)
                else:
                    found += [*_user_messages(texts), block.to_message()]
    return [*found, *_user_messages(texts), *([turn.message()] if turn else [])]


def _user_messages(texts: list[TextBlock]) -> Iterator[UserMessage]:
    """Gives the message of the texts, if there are any, and empties the list."""
    if texts:
        yield UserMessage(_content(texts))
        texts.clear()


def _text_or_blocks(content: str | list[TextBlock]) -> Content:
    return content if isinstance(content, str) else _content(content)


def _content(blocks: Sequence[TextBlock]) -> Content:
    if len(blocks) == 1:
        return blocks[0].text
    return [TextPart(block.text) for block in blocks] or ""


def anthropic_call_id(engine_id: str) -> str:
    """Returns the id of a tool call as this API writes it."""
    return CALL_ID_PREFIX + engine_id


def engine_call_id(id: str) -> str:
    """Returns the id of a tool call as the engine made it."""
    return id.removeprefix(CALL_ID_PREFIX) or id
