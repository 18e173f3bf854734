"""The events of a streamed message, in the forms of Anthropic's SDK. Errors are in http/error_shapes.py."""

from __future__ import annotations

import msgspec

from .anthropic_reply import AnthropicContent, AnthropicReply, AnthropicUsage, StopReason


class TextPieceDelta(msgspec.Struct, tag_field="type", tag="text_delta"):
    text: str


class ThinkingPieceDelta(msgspec.Struct, tag_field="type", tag="thinking_delta"):
    thinking: str


class SignatureDelta(msgspec.Struct, tag_field="type", tag="signature_delta"):
    signature: str


class InputJsonDelta(msgspec.Struct, tag_field="type", tag="input_json_delta"):
    partial_json: str


AnthropicDelta = TextPieceDelta | ThinkingPieceDelta | SignatureDelta | InputJsonDelta


class MessageStart(msgspec.Struct, tag_field="type", tag="message_start"):
    """The message without its answer. The tokens of its prompt are not yet divided into computed and cached ones."""

    message: AnthropicReply


class ContentBlockStart(msgspec.Struct, tag_field="type", tag="content_block_start"):
    index: int
    content_block: AnthropicContent


class ContentBlockDelta(msgspec.Struct, tag_field="type", tag="content_block_delta"):
    index: int
    delta: AnthropicDelta


class ContentBlockStop(msgspec.Struct, tag_field="type", tag="content_block_stop"):
    index: int


class AnthropicStop(msgspec.Struct):
    stop_reason: StopReason
    stop_sequence: str | None
    stop_details: None = None
    container: None = None


class MessageDelta(msgspec.Struct, tag_field="type", tag="message_delta"):
    delta: AnthropicStop
    usage: AnthropicUsage


class MessageStop(msgspec.Struct, tag_field="type", tag="message_stop"):
    pass


class Ping(msgspec.Struct, tag_field="type", tag="ping"):
    """Keeps a silent connection open."""


AnthropicEvent = (
    MessageStart | ContentBlockStart | ContentBlockDelta | ContentBlockStop | MessageDelta | MessageStop | Ping
)
