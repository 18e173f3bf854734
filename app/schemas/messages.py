"""Messages of a conversation in requests, and the form in which chat templates take them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta

from llmcore.log import cut

from ..http.errors import invalid
from ..http.unknown_fields import RefusedFields
from .tools import SentToolCall
from .unsupported_fields import (
    REFUSED_IN_MESSAGES,
    Hint,
    OnlyEmpty,
    OnlyEmptyText,
    OnlyNull,
    Parsed,
    refuse_unsupported,
)

# Chat templates have no place for a name: to accept one would be to ignore it.
Name = Annotated[Any, Meta(extra_json_schema={"enum": [None]}, description="templates cannot show it")]


class TextPart(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    text: str
    prompt_cache_breakpoint: Hint = None
    cache_control: Hint = None


Content = str | Annotated[list[TextPart], Meta(min_length=1)]


class SystemMessage(msgspec.Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    content: Content
    name: Name = None


class DeveloperMessage(msgspec.Struct, tag_field="role", tag="developer", forbid_unknown_fields=True):
    """Rendered as a system message, the role that templates know."""

    content: Content
    name: Name = None


class UserMessage(msgspec.Struct, tag_field="role", tag="user", forbid_unknown_fields=True):
    refused_fields: ClassVar[RefusedFields] = REFUSED_IN_MESSAGES
    content: Content
    name: Name = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    """Besides content, tool calls and reasoning, it has the fields of an answer that clients send back; they are null or empty."""

    content: Content | None = None
    tool_calls: list[SentToolCall] | None = None
    reasoning_content: Annotated[str, Meta(description="for templates that show it")] | None = None
    name: Name = None
    refusal: OnlyEmptyText = None
    annotations: OnlyEmpty = None
    audio: OnlyNull = None
    function_call: OnlyNull = None
    parsed: Parsed = None


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool", forbid_unknown_fields=True):
    """Result of a function call."""

    content: Content
    tool_call_id: Annotated[str, Meta(min_length=1, description="of a call in a message before")]
    name: Name = None


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


def check_messages(messages: Sequence[Message]) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400)."""
    called: set[str] = set()
    for index, message in enumerate(messages):
        path = f"messages[{index}]."
        _check_message(message, path)
        if isinstance(message, AssistantMessage):
            called |= {call.id for call in message.tool_calls or ()}
        if isinstance(message, ToolMessage) and message.tool_call_id not in called:
            problem = (
                f"{path}tool_call_id: no message before it has a tool call with the id {cut(message.tool_call_id)!r}"
            )
            raise invalid("invalid_value", problem, path + "tool_call_id")


def _check_message(message: Message, path: str) -> None:
    refuse_unsupported(message, path)
    if isinstance(message, AssistantMessage) and message.content is None and not message.tool_calls:
        problem = f"{path}content may not be null without tool calls"
        raise invalid("missing_required_parameter", problem, path + "content")
    if isinstance(message.content, list):
        for index, part in enumerate(message.content):
            refuse_unsupported(part, f"{path}content[{index}].")


def template_messages(messages: Sequence[Message]) -> bytes:
    """Returns the messages as JSON for the chat template. `developer` becomes `system`; the result of a call gets the name of
    the function, which some templates show."""
    names: dict[str, str] = {}
    found = []
    for message in messages:
        plain = _template_message(message)
        if isinstance(message, AssistantMessage):
            names |= {call.id: call.function.name for call in message.tool_calls or ()}
        if isinstance(message, ToolMessage):
            plain |= {"tool_call_id": message.tool_call_id, "name": names.get(message.tool_call_id, "")}
        found.append(plain)
    return msgspec.json.encode(found)


def _template_message(message: Message) -> dict[str, Any]:
    role = message.__struct_config__.tag
    plain: dict[str, Any] = {
        "role": "system" if role == "developer" else role,
        "content": _template_content(message.content),
    }
    if isinstance(message, AssistantMessage):
        if message.tool_calls:
            plain["tool_calls"] = [_template_call(call) for call in message.tool_calls]
        if message.reasoning_content:
            plain["reasoning_content"] = message.reasoning_content
    return plain


def _template_call(call: SentToolCall) -> dict[str, Any]:
    function = {"name": call.function.name, "arguments": call.function.arguments}
    return {"type": "function", "id": call.id, "function": function}


def _template_content(content: Content | None) -> Any:
    if content is None or isinstance(content, str):
        return content
    return [{"type": "text", "text": part.text} for part in content]
