"""Content blocks of a message of Anthropic's API, as they grow: thinking, text and tool calls."""

from __future__ import annotations

from abc import ABC, abstractmethod

import msgspec

from llmcore.messages import CallDelta

from ..schemas.anthropic_content import anthropic_call_id
from ..schemas.anthropic_events import AnthropicDelta, InputJsonDelta, TextPieceDelta, ThinkingPieceDelta
from ..schemas.anthropic_reply import AnthropicContent, TextContent, ThinkingContent, ToolUseContent

# Anthropic signs its reasoning; some clients send reasoning back only with a signature.
SIGNATURE = "llmcore"
_NO_INPUT = msgspec.Raw(b"{}")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class GrowingBlock(ABC):
    """The block at `index` of a message's content."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @abstractmethod
    def start(self) -> AnthropicContent:
        """Returns the block before its first piece."""

    @abstractmethod
    def delta(self, text: str) -> AnthropicDelta: ...

    @abstractmethod
    def content(self) -> AnthropicContent:
        """Returns the block with all its pieces."""


class GrowingText(GrowingBlock):
    def start(self) -> TextContent:
        return TextContent("")

    def delta(self, text: str) -> TextPieceDelta:
        return TextPieceDelta(text)

    def content(self) -> TextContent:
        return TextContent(self.text)


class GrowingThinking(GrowingBlock):
    def start(self) -> ThinkingContent:
        return ThinkingContent("", "")

    def delta(self, text: str) -> ThinkingPieceDelta:
        return ThinkingPieceDelta(text)

    def content(self) -> ThinkingContent:
        return ThinkingContent(self.text, SIGNATURE)


class GrowingToolUse(GrowingBlock):
    def __init__(self, index: int, call: CallDelta) -> None:
        super().__init__(index)
        self._id, self._name = anthropic_call_id(call.id), call.name

    def start(self) -> ToolUseContent:
        return ToolUseContent(self._id, self._name, _NO_INPUT)

    def delta(self, text: str) -> InputJsonDelta:
        return InputJsonDelta(text)

    def content(self) -> ToolUseContent:
        """The input of a call that was cut at max_tokens is not valid JSON: it is left out."""
        try:
            _OBJECT.decode(self.text)
        except msgspec.DecodeError:
            return self.start()
        return ToolUseContent(self._id, self._name, msgspec.Raw(self.text.encode()))
