"""Requests to /v1/chat/completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from .errors import invalid
from .fields import Count, GenerationFields, OnlyEmpty, OnlyFalse, OnlyNull, check_common, refuse_unsupported

# A template has no place for it: accepting a name would be ignoring it.
_NAME = "templates cannot show it"
Name = Annotated[Any, Meta(extra_json_schema={"enum": [None]}, description=_NAME)]


class TextPart(msgspec.Struct, tag_field="type", tag="text", forbid_unknown_fields=True):
    text: str
    prompt_cache_breakpoint: OnlyNull = None


Content = str | Annotated[list[TextPart], Meta(min_length=1)]


class SystemMessage(msgspec.Struct, tag_field="role", tag="system", forbid_unknown_fields=True):
    content: Content
    name: Name = None


class DeveloperMessage(msgspec.Struct, tag_field="role", tag="developer", forbid_unknown_fields=True):
    """Passed on as a system message: that is the name which templates know."""

    content: Content
    name: Name = None


class UserMessage(msgspec.Struct, tag_field="role", tag="user", forbid_unknown_fields=True):
    content: Content
    name: Name = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant", forbid_unknown_fields=True):
    """Fields besides content are those that clients send back from an answer, where they are null or empty."""

    content: Content | None = None
    name: Name = None
    refusal: OnlyNull = None
    annotations: OnlyEmpty = None
    audio: OnlyNull = None
    function_call: OnlyNull = None
    tool_calls: OnlyEmpty = None


Message = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage


class ChatRequest(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the next message of a conversation."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None

    # Accepted, since no value of theirs would change the answer.
    metadata: Annotated[dict[str, str], Meta(description="accepted without effect")] | None = None
    parallel_tool_calls: Annotated[bool, Meta(description="accepted without effect: there are no tools")] | None = None
    prompt_cache_key: Annotated[str, Meta(description="accepted without effect: all share a cache")] | None = None
    safety_identifier: Annotated[str, Meta(description="accepted without effect")] | None = None

    # Accepted with the values that change nothing.
    audio: OnlyNull = None
    function_call: Annotated[Any, Meta(extra_json_schema={"enum": [None, "none", "auto"]})] = None
    functions: OnlyEmpty = None
    logprobs: OnlyFalse = None
    modalities: Annotated[Any, Meta(extra_json_schema={"enum": [None, ["text"]]})] = None
    moderation: OnlyNull = None
    prediction: OnlyNull = None
    prompt_cache_options: OnlyNull = None
    prompt_cache_retention: Annotated[Any, Meta(extra_json_schema={"enum": [None, "in_memory", "in-memory"]})] = None
    reasoning_effort: OnlyNull = None
    response_format: Annotated[Any, Meta(extra_json_schema={"enum": [None, {"type": "text"}]})] = None
    service_tier: Annotated[Any, Meta(extra_json_schema={"enum": [None, "auto", "default"]})] = None
    store: OnlyFalse = None
    tool_choice: Annotated[Any, Meta(extra_json_schema={"enum": [None, "none", "auto"]})] = None
    tools: OnlyEmpty = None
    top_logprobs: Annotated[Any, Meta(extra_json_schema={"enum": [None, 0]})] = None
    verbosity: Annotated[Any, Meta(extra_json_schema={"enum": [None, "medium"]})] = None
    web_search_options: OnlyNull = None

    def answer_tokens(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens


def check_chat(request: ChatRequest) -> None:
    """What the types cannot say. Raises ApiError (400)."""
    check_common(request)
    both = (request.max_tokens, request.max_completion_tokens)
    if None not in both and both[0] != both[1]:
        problem = f"max_tokens ({both[0]}) and max_completion_tokens ({both[1]}) differ: send one of them"
        raise invalid("invalid_value", problem, "max_tokens")
    check_messages(request.messages)


def check_messages(messages: Sequence[Message]) -> None:
    """Raises ApiError (400)."""
    for index, message in enumerate(messages):
        _check_message(message, f"messages[{index}].")


def _check_message(message: Message, path: str) -> None:
    refuse_unsupported(message, path)
    if isinstance(message, AssistantMessage) and message.content is None:
        problem = f"{path}content may not be null without tool calls"
        raise invalid("missing_required_parameter", problem, path + "content")
    if isinstance(message.content, list):
        for index, part in enumerate(message.content):
            refuse_unsupported(part, f"{path}content[{index}].")


def raw_messages(messages: Sequence[Message]) -> bytes:
    """The messages as the chat template takes them: role and content only, `developer` told as `system`."""
    return msgspec.json.encode([_plain(message) for message in messages])


def _plain(message: Message) -> dict[str, Any]:
    role = message.__struct_config__.tag
    content: Any = message.content
    if not isinstance(content, str):
        content = [{"type": "text", "text": part.text} for part in content or ()]
    return {"role": "system" if role == "developer" else role, "content": content}
