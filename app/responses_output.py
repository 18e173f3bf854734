"""The items of a response as they grow: reasoning, messages and function calls, in the order in which they begin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

from llmcore.messages import CallDelta, Finished, Piece

from . import responses_events as events
from .responses_input import Status
from .responses_replies import (
    AnsweredCall,
    AnsweredMessage,
    AnsweredReasoning,
    AnsweredText,
    OutputItem,
    ReasoningThought,
)


class GrowingItem(Protocol):
    """What stands in a response's output at `index`."""

    index: int
    pieces: list[str]

    def item(self, status: Status) -> OutputItem:
        """As it stands. In progress it tells nothing of its text yet: deltas do."""

    def part(self, text: str) -> events.Part | None:
        """The one part that its content has, or None where it has no content."""

    def delta(self, text: str) -> events.Delta: ...

    def done(self) -> events.TextDone | events.ReasoningDone | events.ArgumentsDone: ...


class GrowingMessage:
    def __init__(self, unique: str, index: int) -> None:
        self.id, self.index = f"msg_{unique}_{index}", index
        self.pieces: list[str] = []

    def item(self, status: Status) -> AnsweredMessage:
        content = [] if status == "in_progress" else [self.part("".join(self.pieces))]
        return AnsweredMessage(self.id, status, content)

    def part(self, text: str) -> AnsweredText:
        return AnsweredText(text)

    def delta(self, text: str) -> events.TextDelta:
        return events.TextDelta(self.id, self.index, text)

    def done(self) -> events.TextDone:
        return events.TextDone(self.id, self.index, "".join(self.pieces))


class GrowingReasoning:
    def __init__(self, unique: str, index: int) -> None:
        self.id, self.index = f"rs_{unique}_{index}", index
        self.pieces: list[str] = []

    def item(self, status: Status) -> ReasoningThought:
        content = [] if status == "in_progress" else [self.part("".join(self.pieces))]
        return ReasoningThought(self.id, status, content)

    def part(self, text: str) -> AnsweredReasoning:
        return AnsweredReasoning(text)

    def delta(self, text: str) -> events.ReasoningDelta:
        return events.ReasoningDelta(self.id, self.index, text)

    def done(self) -> events.ReasoningDone:
        return events.ReasoningDone(self.id, self.index, "".join(self.pieces))


class GrowingCall:
    def __init__(self, unique: str, index: int, call: CallDelta) -> None:
        self.id, self.index = f"fc_{unique}_{index}", index
        self.pieces: list[str] = []
        self._call_id, self._name = call.id, call.name

    def item(self, status: Status) -> AnsweredCall:
        arguments = "" if status == "in_progress" else "".join(self.pieces)
        return AnsweredCall(self.id, status, self._call_id, self._name, arguments)

    def part(self, text: str) -> None:
        return None

    def delta(self, text: str) -> events.ArgumentsDelta:
        return events.ArgumentsDelta(self.id, self.index, text)

    def done(self) -> events.ArgumentsDone:
        return events.ArgumentsDone(self.id, self.index, self._name, "".join(self.pieces))


T = TypeVar("T", GrowingMessage, GrowingReasoning)


class Output:
    """The items of one response. `unique` makes their ids."""

    def __init__(self, unique: str) -> None:
        self._unique = unique
        self._items: list[GrowingItem] = []
        self._calls: list[GrowingCall] = []

    def grow(self, output: Piece | Finished) -> Iterator[tuple[GrowingItem, str]]:
        """Takes more of the answer in, and gives (item, piece of its text). An item that is new comes with its first piece,
        which may be empty; by then the one before it is complete."""
        if output.reasoning:
            yield self._grown(self._last(GrowingReasoning), output.reasoning)
        # While a call is written, what comes with it is what the model said after it.
        is_calling = bool(self._items) and isinstance(self._items[-1], GrowingCall)
        if output.text and not is_calling:
            yield self._grown(self._last(GrowingMessage), output.text)
        for delta in output.calls:
            yield self._grown(self._call(delta), delta.arguments)
        if output.text and is_calling:
            yield self._grown(self._last(GrowingMessage), output.text)
        if isinstance(output, Finished) and self._has_no_answer(output):
            yield self._grown(self._last(GrowingMessage), "")

    def items(self, last: Status) -> list[OutputItem]:
        """As they stand; the last one may be unfinished."""
        return [each.item("completed") for each in self._items[:-1]] + [each.item(last) for each in self._items[-1:]]

    def _has_no_answer(self, finished: Finished) -> bool:
        """Whoever reads an answer looks for a message, even if the model said nothing. (Not where it was still thinking.)"""
        is_thinking = bool(self._items) and isinstance(self._items[-1], GrowingReasoning)
        return not self._items or (is_thinking and finished.reason == "stop")

    def _grown(self, item: GrowingItem, text: str) -> tuple[GrowingItem, str]:
        item.pieces.append(text)
        return item, text

    def _last(self, kind: type[T]) -> T:
        """The item that grows, if it is of this kind, or a new one."""
        last = self._items[-1] if self._items else None
        if isinstance(last, kind):
            return last
        item = kind(self._unique, len(self._items))
        self._items.append(item)
        return item

    def _call(self, delta: CallDelta) -> GrowingCall:
        if delta.name:
            self._calls.append(GrowingCall(self._unique, len(self._items), delta))
            self._items.append(self._calls[-1])
        return self._calls[delta.index]
