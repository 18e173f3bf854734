"""The `input` of /v1/responses: items, and their conversion to the messages of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llmcore.log import cut

from ..http.decode import decode
from ..http.errors import invalid
from ..http.ignored_fields import IgnoredFields
from ..http.unknown_fields import decode_known
from .messages import (
    AssistantMessage,
    Content,
    DeveloperMessage,
    Message,
    Name,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)
from .tools import CalledFunction, SentToolCall
from .unsupported_fields import Hint, OnlyEmpty, OnlyFalse, OnlyNull, Parsed, refuse_unsupported

Status = Literal["in_progress", "completed", "incomplete"]


class InputText(msgspec.Struct, tag_field="type", tag="input_text", forbid_unknown_fields=True):
    text: str
    prompt_cache_breakpoint: Hint = None
    cache_control: Hint = None


class OutputText(msgspec.Struct, tag_field="type", tag="output_text", forbid_unknown_fields=True):
    """A part of an earlier answer."""

    text: str
    annotations: OnlyEmpty = None
    logprobs: (
        Annotated[list[Any], Meta(description="accepted without effect: a template has no use for them")] | None
    ) = None
    parsed: Parsed = None


class ReasoningText(msgspec.Struct, tag_field="type", tag="reasoning_text", forbid_unknown_fields=True):
    text: str


class SummaryText(msgspec.Struct, tag_field="type", tag="summary_text", forbid_unknown_fields=True):
    text: str


TextParts = Annotated[list[InputText | OutputText | RefusalPart], Meta(min_length=1)]
ItemContent = str | TextParts | None  # null is no text
ItemId = Annotated[str, Meta(description="accepted without effect")]
ItemStatus = Annotated[Status, Meta(description="accepted without effect")]


class MessageItem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    content: ItemContent
    type: Literal["message"] | None = None
    name: Name | None = None
    id: ItemId | None = None
    status: ItemStatus | None = None
    phase: OnlyNull = None


class UserItem(MessageItem, tag_field="role", tag="user", kw_only=True, forbid_unknown_fields=True):
    pass


class SystemItem(MessageItem, tag_field="role", tag="system", kw_only=True, forbid_unknown_fields=True):
    pass


class DeveloperItem(MessageItem, tag_field="role", tag="developer", kw_only=True, forbid_unknown_fields=True):
    """Rendered as a system message, the role that templates know."""


class AssistantItem(MessageItem, tag_field="role", tag="assistant", kw_only=True, forbid_unknown_fields=True):
    pass


class CallItem(msgspec.Struct, tag_field="type", tag="function_call", kw_only=True, forbid_unknown_fields=True):
    call_id: Annotated[str, Meta(min_length=1)]
    name: str
    arguments: Annotated[str, Meta(description="JSON")]
    id: ItemId | None = None
    status: ItemStatus | None = None
    namespace: OnlyNull = None
    caller: OnlyNull = None
    is_async: OnlyFalse = msgspec.field(default=None, name="async")
    async_: OnlyFalse = None  # the SDK's name for `async`, as its `model_dump()` has it
    parsed_arguments: Parsed = None


class ResultItem(
    msgspec.Struct, tag_field="type", tag="function_call_output", kw_only=True, forbid_unknown_fields=True
):
    """Result of a function call."""

    call_id: Annotated[str, Meta(min_length=1, description="of a function_call before")]
    output: ItemContent
    id: ItemId | None = None
    status: ItemStatus | None = None
    caller: OnlyNull = None


class ReasoningItem(msgspec.Struct, tag_field="type", tag="reasoning", kw_only=True, forbid_unknown_fields=True):
    """Reasoning of an earlier answer, for templates that show it: `content`, or else `summary`."""

    content: list[ReasoningText] | None = None
    summary: list[SummaryText] | None = None
    id: ItemId | None = None
    status: ItemStatus | None = None
    encrypted_content: OnlyNull = None


Item = UserItem | SystemItem | DeveloperItem | AssistantItem | CallItem | ResultItem | ReasoningItem
ITEMS = (UserItem, SystemItem, DeveloperItem, AssistantItem, CallItem, ResultItem, ReasoningItem)

_SCHEMA = {"items": {"anyOf": [{"$ref": f"#/components/schemas/{item.__name__}"} for item in ITEMS]}}

# A message may come without its type, so that no single field distinguishes the items: read_items() decodes them.
Input = str | Annotated[list[msgspec.Raw], Meta(min_length=1, extra_json_schema=_SCHEMA)]


class _ItemType(msgspec.Struct):
    type: str | None = None


_ITEM_TYPE = msgspec.json.Decoder(_ItemType)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "message": msgspec.json.Decoder(UserItem | SystemItem | DeveloperItem | AssistantItem),
    "function_call": msgspec.json.Decoder(CallItem),
    "function_call_output": msgspec.json.Decoder(ResultItem),
    "reasoning": msgspec.json.Decoder(ReasoningItem),
}


def read_items(value: str | list[msgspec.Raw], ignored: IgnoredFields) -> list[Item]:
    """Returns the items of `input`; notes their fields without effect in `ignored`. Raises ApiError (400)."""
    if isinstance(value, str):
        return [UserItem(content=value)]
    return [_read_item(bytes(raw), f"input[{index}]", ignored) for index, raw in enumerate(value)]


def _read_item(raw: bytes, path: str, ignored: IgnoredFields) -> Item:
    item_type = decode(_ITEM_TYPE, raw, path).type or "message"
    if item_type not in _DECODERS:
        # item_reference as well: nothing is stored that it could refer to.
        raise invalid(
            "unsupported_value", f"{path}.type: items of type {cut(item_type)!r} are not supported", f"{path}.type"
        )
    item: Item = decode_known(_DECODERS[item_type], raw, ignored, path)
    refuse_unsupported(item, f"{path}.")
    name = "output" if isinstance(item, ResultItem) else "content"
    for index, part in enumerate(_parts(item)):
        refuse_unsupported(part, f"{path}.{name}[{index}].")
    return item


def _parts(item: Item) -> list[InputText | OutputText | RefusalPart]:
    content: ItemContent = ""
    if isinstance(item, ResultItem):
        content = item.output
    elif isinstance(item, MessageItem):
        content = item.content
    return content if isinstance(content, list) else []


@dataclass
class _AssistantTurn:
    """One turn of the assistant: one message for a template, several items in `input`."""

    content: Content | None = None
    name: str | None = None
    reasoning: str = ""
    calls: list[SentToolCall] = field(default_factory=list)

    def add(self, item: AssistantItem | CallItem | ReasoningItem) -> bool:
        """Adds the item and returns True, or returns False if it belongs to a new turn."""
        if isinstance(item, CallItem):
            self.calls.append(SentToolCall(id=item.call_id, function=CalledFunction(item.name, item.arguments)))
        elif self.content is not None or (isinstance(item, ReasoningItem) and self.calls):
            return False
        elif isinstance(item, AssistantItem):
            self.content, self.name = _message_content(item.content), item.name
        else:
            self.reasoning += "".join(part.text for part in item.content or item.summary or ())
        return True

    def messages(self) -> list[Message]:
        if self.content is None and not self.calls and not self.reasoning:
            return []
        content = self.content if self.content is not None or self.calls else ""
        return [AssistantMessage(content, self.calls or None, self.reasoning or None, self.name)]


def to_messages(instructions: str | None, items: Sequence[Item]) -> list[Message]:
    """Returns the messages that a chat request would have."""
    messages: list[Message] = [SystemMessage(instructions)] if instructions else []
    turn = _AssistantTurn()
    for item in items:
        if isinstance(item, (AssistantItem, CallItem, ReasoningItem)):
            if not turn.add(item):
                messages += turn.messages()
                turn = _AssistantTurn()
                turn.add(item)
            continue
        messages += turn.messages()
        turn = _AssistantTurn()
        messages.append(_message(item))
    return messages + turn.messages()


def _message(item: UserItem | SystemItem | DeveloperItem | ResultItem) -> Message:
    if isinstance(item, ResultItem):
        return ToolMessage(_message_content(item.output), item.call_id)
    content = _message_content(item.content)
    if isinstance(item, UserItem):
        return UserMessage(content, item.name)
    return (SystemMessage if isinstance(item, SystemItem) else DeveloperMessage)(content, item.name)


def _message_content(content: ItemContent) -> Content:
    if content is None or isinstance(content, str):
        return content or ""
    return [TextPart(part.text) for part in content]
