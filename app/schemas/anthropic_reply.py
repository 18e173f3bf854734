"""Replies of Anthropic's API: messages, counts of tokens, models."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .usage import Timings

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"]


class TextContent(msgspec.Struct, tag_field="type", tag="text"):
    text: str
    citations: None = None


class ThinkingContent(msgspec.Struct, tag_field="type", tag="thinking"):
    thinking: str
    signature: Annotated[str, Meta(description="the same for all; not checked")]


class ToolUseContent(msgspec.Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]


AnthropicContent = TextContent | ThinkingContent | ToolUseContent


class AnthropicOutputDetails(msgspec.Struct):
    thinking_tokens: int


class AnthropicUsage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Tokens of the prompt are input_tokens and cache_read_input_tokens together."""

    input_tokens: Annotated[int, Meta(description="of the prompt, those that were computed")]
    output_tokens: int
    cache_read_input_tokens: Annotated[int, Meta(description="of the prompt, those found in the cache")]
    cache_creation_input_tokens: int
    output_tokens_details: AnthropicOutputDetails | None = None
    timings: Annotated[Timings, Meta(description="llmcore's own")] | None = None


class AnthropicReply(msgspec.Struct, tag_field="type", tag="message", kw_only=True):
    id: str
    model: str
    usage: AnthropicUsage
    role: Literal["assistant"] = "assistant"
    content: list[AnthropicContent] = []
    stop_reason: StopReason | None = None
    stop_sequence: str | None = None
    stop_details: None = None
    container: None = None


class CountTokensReply(msgspec.Struct):
    input_tokens: int


class AnthropicModelCard(msgspec.Struct, tag_field="type", tag="model", kw_only=True):
    id: str
    display_name: str
    created_at: str
    lifecycle: Literal["active"] = "active"
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    capabilities: Any = None


class AnthropicModelList(msgspec.Struct):
    data: list[AnthropicModelCard]
    first_id: str | None
    last_id: str | None
    has_more: bool = False
