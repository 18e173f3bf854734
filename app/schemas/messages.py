"""Messages of a conversation in requests, and the form in which chat templates take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from ..http.hints import hint
from ..http.unknown_fields import RefusedFields
from .tools import SentToolCall
from .unsupported_fields import (
    REFUSED_IN_MESSAGES,
    Hint,
    OnlyEmpty,
    OnlyNull,
    Parsed,
    refuse_unsupported,
)

Refusal = Annotated[str, hint("", description="the content, of messages without one; else told as ignored")] | None
Name = Annotated[str, Meta(description="for templates that show it")]


class TextPart(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    text: str
    prompt_cache_breakpoint: Hint = None
    cache_control: Hint = None


class RefusalPart(msgspec.Struct, tag_field="type", tag="refusal", forbid_unknown_fields=True):
    """Text of an earlier answer that was a refusal. It is content as any other text."""

    refusal: str

    @property
    def text(self) -> str:
        return self.refusal


Content = str | list[TextPart]
# Null is no text. The field is required, so that a message with a misspelled one is an error and not an empty message.
GivenContent = Content | None


class SystemMessage(msgspec.Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    content: GivenContent
    name: Name | None = None


class DeveloperMessage(msgspec.Struct, tag_field="role", tag="developer", forbid_unknown_fields=True):
    """Rendered as a system message, the role that templates know."""

    content: GivenContent
    name: Name | None = None


class UserMessage(msgspec.Struct, tag_field="role", tag="user", forbid_unknown_fields=True):
    refused_fields: ClassVar[RefusedFields] = REFUSED_IN_MESSAGES
    content: GivenContent
    name: Name | None = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    """Besides content, tool calls and reasoning, it has the fields of an answer that clients send back; they are null or empty."""

    content: str | Sequence[TextPart | RefusalPart] | None = None  # parts are a list
    tool_calls: list[SentToolCall] | None = None
    reasoning_content: Annotated[str, Meta(description="for templates that show it")] | None = None
    name: Name | None = None
    refusal: Refusal = None
    annotations: OnlyEmpty = None
    audio: OnlyNull = None
    function_call: OnlyNull = None
    parsed: Parsed = None

    def __post_init__(self) -> None:
        if self.refusal and not self.content:
            self.content, self.refusal = self.refusal, None


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool", forbid_unknown_fields=True):
    """Result of a function call."""

    content: Content | None = None
    tool_call_id: Annotated[str, Meta(description="of a call in a message before, if that is still there")] | None = (
        None
    )
    name: Name | None = None


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


def check_messages(messages: Sequence[Message]) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400).

    The order of roles is left to the chat template, which may refuse it: the engine's error then names `messages`."""
    for index, message in enumerate(messages):
        path = f"messages[{index}]."
        refuse_unsupported(message, path)
        if isinstance(message.content, list):
            for part_index, part in enumerate(message.content):
                refuse_unsupported(part, f"{path}content[{part_index}].")


def template_messages(messages: Sequence[Message]) -> bytes:
    """Returns the messages as JSON for the chat template. `developer` becomes `system`. The result of a call gets the name of the
    function, which some templates show; it is empty if the message has no name and the call is not there."""
    names: dict[str, str] = {}
    found = []
    for message in messages:
        plain = _template_message(message)
        if isinstance(message, AssistantMessage):
            names |= {call.id: call.function.name for call in message.tool_calls or ()}
        if isinstance(message, ToolMessage):
            id = message.tool_call_id or ""
            plain |= {"tool_call_id": id, "name": names.get(id) or message.name or ""}
        found.append(plain)
    return msgspec.json.encode(found)


def _template_message(message: Message) -> dict[str, Any]:
    role = message.__struct_config__.tag
    plain: dict[str, Any] = {
        "role": "system" if role == "developer" else role,
        "content": _template_content(message),
    }
    if message.name:
        plain["name"] = message.name
    if isinstance(message, AssistantMessage):
        if message.tool_calls:
            plain["tool_calls"] = [_template_call(call) for call in message.tool_calls]
        if message.reasoning_content:
            plain["reasoning_content"] = message.reasoning_content
    return plain


def _template_call(call: SentToolCall) -> dict[str, Any]:
    function = {"name": call.function.name, "arguments": call.function.arguments}
    return {"type": "function", "id": call.id, "function": function}


def _template_content(message: Message) -> Any:
    """Returns the content, of which null stays null only where templates know it: beside tool calls."""
    content = message.content
    if content is None:
        return None if isinstance(message, AssistantMessage) else ""
    if isinstance(content, str):
        return content
    return [{"type": "text", "text": part.text} for part in content]
