"""The content of a message of Anthropic's API, put together from the engine's outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from llmcore.messages import CallDelta, Finished, Piece

from ..schemas.anthropic_reply import AnthropicContent
from .anthropic_blocks import GrowingBlock, GrowingText, GrowingThinking, GrowingToolUse

T = TypeVar("T", GrowingText, GrowingThinking)


class BlockGrowth(NamedTuple):
    """A piece that was added to a block. It may be empty if the block is new."""

    block: GrowingBlock
    text: str


class AnthropicOutput:
    """The content blocks of one message, in the order in which they begin. Without `shows_thinking`, the text of reasoning is left
    out."""

    def __init__(self, *, shows_thinking: bool = True) -> None:
        self._shows_thinking = shows_thinking
        self._blocks: list[GrowingBlock] = []
        self._calls: list[GrowingToolUse] = []

    @property
    def has_calls(self) -> bool:
        return bool(self._calls)

    def add(self, output: Piece | Finished) -> Iterator[BlockGrowth]:
        """Adds an output of the engine. If a block is new, the block before it is complete."""
        if output.reasoning:
            text = output.reasoning if self._shows_thinking else ""
            yield self._add_piece(self._growing(GrowingThinking), text)
        # Text that comes with a piece of a running call was generated after the call.
        is_calling = isinstance(self._newest, GrowingToolUse)
        if output.text and not is_calling:
            yield self._add_piece(self._growing(GrowingText), output.text)
        for delta in output.calls:
            yield self._add_piece(self._call(delta), delta.arguments)
        if output.text and is_calling:
            yield self._add_piece(self._growing(GrowingText), output.text)
        if isinstance(output, Finished) and self._lacks_text(output):
            yield self._add_piece(self._growing(GrowingText), "")

    def content(self) -> list[AnthropicContent]:
        return [block.content() for block in self._blocks]

    def _lacks_text(self, finished: Finished) -> bool:
        """True if an empty text must be added, because clients look for one: nothing was generated, or the model stopped after its
        reasoning."""
        return not self._blocks or (isinstance(self._newest, GrowingThinking) and finished.reason == "stop")

    def _add_piece(self, block: GrowingBlock, text: str) -> BlockGrowth:
        block.pieces.append(text)
        return BlockGrowth(block, text)

    @property
    def _newest(self) -> GrowingBlock | None:
        return self._blocks[-1] if self._blocks else None

    def _growing(self, kind: type[T]) -> T:
        """Returns the newest block if it is of this kind, or else adds a new one."""
        newest = self._newest
        if isinstance(newest, kind):
            return newest
        block = kind(len(self._blocks))
        self._blocks.append(block)
        return block

    def _call(self, delta: CallDelta) -> GrowingToolUse:
        """Returns the call that `delta` belongs to. A delta with a name begins a new one."""
        if delta.name:
            self._calls.append(GrowingToolUse(len(self._blocks), delta))
            self._blocks.append(self._calls[-1])
        return self._calls[delta.index]
