"""The `input` of /v1/responses: items, and the conversation that they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llmcore.log import cut

from ..http.decode import decode
from ..http.errors import invalid
from .fields import OnlyEmpty, OnlyFalse, OnlyNull, refuse_unsupported
from .messages import (
    AssistantMessage,
    Content,
    DeveloperMessage,
    Message,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)
from .tools import CalledFunction, SentToolCall

Status = Literal["in_progress", "completed", "incomplete"]
Parsed = Annotated[Any, Meta(description="accepted without effect: the SDK's own, made of the text beside it")]


class InputText(msgspec.Struct, tag_field="type", tag="input_text", forbid_unknown_fields=True):
    text: str
    prompt_cache_breakpoint: OnlyNull = None


class OutputText(msgspec.Struct, tag_field="type", tag="output_text", forbid_unknown_fields=True):
    """As it stands in an answer."""

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


TextParts = Annotated[list[InputText | OutputText], Meta(min_length=1)]
Said = str | TextParts
ItemId = Annotated[str, Meta(description="accepted without effect")]
ItemStatus = Annotated[Status, Meta(description="accepted without effect")]


class MessageItem(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    content: Said
    type: Literal["message"] | None = None
    id: ItemId | None = None
    status: ItemStatus | None = None
    phase: OnlyNull = None


class UserItem(MessageItem, tag_field="role", tag="user", kw_only=True, forbid_unknown_fields=True):
    pass


class SystemItem(MessageItem, tag_field="role", tag="system", kw_only=True, forbid_unknown_fields=True):
    pass


class DeveloperItem(MessageItem, tag_field="role", tag="developer", kw_only=True, forbid_unknown_fields=True):
    """Passed on as a system message: that is the name which templates know."""


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
    async_: OnlyFalse = None  # the SDK's name of it, which is in its `model_dump()`
    parsed_arguments: Parsed = None


class ResultItem(
    msgspec.Struct, tag_field="type", tag="function_call_output", kw_only=True, forbid_unknown_fields=True
):
    """What a function gave."""

    call_id: Annotated[str, Meta(min_length=1, description="of a function_call before")]
    output: Said
    id: ItemId | None = None
    status: ItemStatus | None = None
    caller: OnlyNull = None


class ReasoningItem(msgspec.Struct, tag_field="type", tag="reasoning", kw_only=True, forbid_unknown_fields=True):
    """`content` is given to templates that show it; where there is none, the summary stands for it."""

    content: list[ReasoningText] | None = None
    summary: list[SummaryText] | None = None
    id: ItemId | None = None
    status: ItemStatus | None = None
    encrypted_content: OnlyNull = None


Item = UserItem | SystemItem | DeveloperItem | AssistantItem | CallItem | ResultItem | ReasoningItem
ITEMS = (UserItem, SystemItem, DeveloperItem, AssistantItem, CallItem, ResultItem, ReasoningItem)

_SCHEMA = {"items": {"anyOf": [{"$ref": f"#/components/schemas/{item.__name__}"} for item in ITEMS]}}

# A message need not tell its type, so that what an item is cannot be told from one field alone: see read_items().
Input = str | Annotated[list[msgspec.Raw], Meta(min_length=1, extra_json_schema=_SCHEMA)]


class _Kind(msgspec.Struct):
    type: str | None = None


_KIND = msgspec.json.Decoder(_Kind)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "message": msgspec.json.Decoder(UserItem | SystemItem | DeveloperItem | AssistantItem),
    "function_call": msgspec.json.Decoder(CallItem),
    "function_call_output": msgspec.json.Decoder(ResultItem),
    "reasoning": msgspec.json.Decoder(ReasoningItem),
}


def read_items(given: str | list[msgspec.Raw]) -> list[Item]:
    """Raises ApiError (400)."""
    if isinstance(given, str):
        return [UserItem(content=given)]
    items = [_read_item(bytes(raw), f"input[{index}]") for index, raw in enumerate(given)]
    called: set[str] = set()
    for index, item in enumerate(items):
        if isinstance(item, CallItem):
            called.add(item.call_id)
        if isinstance(item, ResultItem) and item.call_id not in called:
            path = f"input[{index}].call_id"
            raise invalid(
                "invalid_value", f"{path}: no function_call before has the call_id {cut(item.call_id)!r}", path
            )
    return items


def _read_item(raw: bytes, path: str) -> Item:
    kind = decode(_KIND, raw, path).type or "message"
    if kind not in _DECODERS:
        # Of an item_reference, too: nothing is stored that it could refer to.
        raise invalid(
            "unsupported_value", f"{path}.type: items of type {cut(kind)!r} are not supported", f"{path}.type"
        )
    item: Item = decode(_DECODERS[kind], raw, path)
    refuse_unsupported(item, f"{path}.")
    name = "output" if isinstance(item, ResultItem) else "content"
    for index, part in enumerate(_parts(item)):
        refuse_unsupported(part, f"{path}.{name}[{index}].")
    return item


def _parts(item: Item) -> list[InputText | OutputText]:
    said = item.output if isinstance(item, ResultItem) else item.content if isinstance(item, MessageItem) else ""
    return said if isinstance(said, list) else []


@dataclass
class _Turn:
    """The assistant's turn: one message for a template, several items here."""

    content: Content | None = None
    reasoning: str = ""
    calls: list[SentToolCall] = field(default_factory=list)

    def add(self, item: AssistantItem | CallItem | ReasoningItem) -> bool:
        """False if the item has no place in this turn: it begins another one."""
        if isinstance(item, CallItem):
            self.calls.append(SentToolCall(id=item.call_id, function=CalledFunction(item.name, item.arguments)))
        elif self.content is not None or (isinstance(item, ReasoningItem) and self.calls):
            return False
        elif isinstance(item, AssistantItem):
            self.content = _content(item.content)
        else:
            self.reasoning += "".join(part.text for part in item.content or item.summary or ())
        return True

    def messages(self) -> list[Message]:
        if self.content is None and not self.calls and not self.reasoning:
            return []
        content = self.content if self.content is not None or self.calls else ""
        return [AssistantMessage(content, self.calls or None, self.reasoning or None)]


def conversation(instructions: str | None, items: Sequence[Item]) -> list[Message]:
    """The messages that a chat request would have."""
    messages: list[Message] = [SystemMessage(instructions)] if instructions else []
    turn = _Turn()
    for item in items:
        if isinstance(item, (AssistantItem, CallItem, ReasoningItem)):
            if not turn.add(item):
                messages += turn.messages()
                turn = _Turn()
                turn.add(item)
            continue
        messages += turn.messages()
        turn = _Turn()
        messages.append(_message(item))
    return messages + turn.messages()


def _message(item: UserItem | SystemItem | DeveloperItem | ResultItem) -> Message:
    if isinstance(item, ResultItem):
        return ToolMessage(_content(item.output), item.call_id)
    content = _content(item.content)
    if isinstance(item, UserItem):
        return UserMessage(content)
    return SystemMessage(content) if isinstance(item, SystemItem) else DeveloperMessage(content)


def _content(said: Said) -> Content:
    return said if isinstance(said, str) else [TextPart(part.text) for part in said]
