"""The items of a response as they grow: reasoning, messages and function calls, in the order in which they begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from llmcore.messages import CallDelta, Finished, Piece, TokenLogprob

from ..schemas import responses_events as events
from ..schemas.logprobs import AnswerLogprob
from ..schemas.responses_input import Status
from ..schemas.responses_replies import (
    OutputItem,
    ReasoningThought,
    ResponseCall,
    ResponseMessage,
    ResponseReasoning,
    ResponseText,
)
from .logprobs import answer_logprobs, event_logprobs


class GrowingItem(Protocol):
    """What stands in a response's output at `index`."""

    index: int
    pieces: list[str]

    def item(self, status: Status) -> OutputItem:
        """As it stands. In progress it tells nothing of its text yet: deltas do."""

    def part(self, status: Status) -> events.ResponsePart | None:
        """The same of the one part that its content has, or None where it has no content."""

    def delta(self, text: str) -> events.ResponseDelta: ...

    def done(self) -> events.TextDone | events.ReasoningDone | events.ArgumentsDone: ...


class GrowingMessage:
    def __init__(self, unique: str, index: int) -> None:
        self.id, self.index = f"msg_{unique}_{index}", index
        self.pieces: list[str] = []
        self.logprobs: list[AnswerLogprob] = []

    def item(self, status: Status) -> ResponseMessage:
        content = [] if status == "in_progress" else [self.part(status)]
        return ResponseMessage(self.id, status, content)

    def part(self, status: Status) -> ResponseText:
        if status == "in_progress":
            return ResponseText("")
        return ResponseText("".join(self.pieces), logprobs=tuple(self.logprobs))

    def delta(self, text: str, logprobs: Sequence[AnswerLogprob] = ()) -> events.TextDelta:
        return events.TextDelta(self.id, self.index, text, logprobs=event_logprobs(logprobs))

    def done(self) -> events.TextDone:
        return events.TextDone(self.id, self.index, "".join(self.pieces), logprobs=event_logprobs(self.logprobs))


class GrowingReasoning:
    def __init__(self, unique: str, index: int) -> None:
        self.id, self.index = f"rs_{unique}_{index}", index
        self.pieces: list[str] = []

    def item(self, status: Status) -> ReasoningThought:
        content = [] if status == "in_progress" else [self.part(status)]
        return ReasoningThought(self.id, status, content)

    def part(self, status: Status) -> ResponseReasoning:
        return ResponseReasoning("" if status == "in_progress" else "".join(self.pieces))

    def delta(self, text: str) -> events.ReasoningDelta:
        return events.ReasoningDelta(self.id, self.index, text)

    def done(self) -> events.ReasoningDone:
        return events.ReasoningDone(self.id, self.index, "".join(self.pieces))


class GrowingCall:
    def __init__(self, unique: str, index: int, call: CallDelta) -> None:
        self.id, self.index = f"fc_{unique}_{index}", index
        self.pieces: list[str] = []
        self._call_id, self._name = call.id, call.name

    def item(self, status: Status) -> ResponseCall:
        arguments = "" if status == "in_progress" else "".join(self.pieces)
        return ResponseCall(self.id, status, self._call_id, self._name, arguments)

    def part(self, status: Status) -> None:
        return None

    def delta(self, text: str) -> events.ArgumentsDelta:
        return events.ArgumentsDelta(self.id, self.index, text)

    def done(self) -> events.ArgumentsDone:
        return events.ArgumentsDone(self.id, self.index, self._name, "".join(self.pieces))


T = TypeVar("T", GrowingMessage, GrowingReasoning)


class Growth(NamedTuple):
    """A piece of an item's text, and the log-probabilities that are told with it."""

    item: GrowingItem
    text: str
    logprobs: Sequence[AnswerLogprob] = ()

    def event(self) -> events.ResponseDelta:
        if isinstance(self.item, GrowingMessage):
            return self.item.delta(self.text, self.logprobs)
        return self.item.delta(self.text)


class ResponseOutput:
    """The items of one response. `unique` makes their ids."""

    def __init__(self, unique: str) -> None:
        self._unique = unique
        self._items: list[GrowingItem] = []
        self._calls: list[GrowingCall] = []
        self._untold: list[TokenLogprob] = []

    def grow(self, output: Piece | Finished) -> Iterator[Growth]:
        """Takes more of the answer in. An item that is new comes with its first piece, which may be empty; by then the one
        before it is complete."""
        logprobs = self._logprobs(output)
        if output.reasoning:
            yield self._grown(self._last(GrowingReasoning), output.reasoning)
        # While a call is written, what comes with it is what the model said after it.
        is_calling = isinstance(self._newest, GrowingCall)
        if output.text and not is_calling:
            yield self._said(output.text, logprobs)
        for delta in output.calls:
            yield self._grown(self._call(delta), delta.arguments)
        if output.text and is_calling:
            yield self._said(output.text, logprobs)
        if isinstance(output, Finished) and not output.text and (logprobs or self._has_no_answer(output)):
            yield self._said("", logprobs)

    def items(self, last: Status) -> list[OutputItem]:
        """As they stand; the last one may be unfinished."""
        return [each.item("completed") for each in self._items[:-1]] + [each.item(last) for each in self._items[-1:]]

    def _has_no_answer(self, finished: Finished) -> bool:
        """Whoever reads an answer looks for a message, even if the model said nothing. (Not where it was still thinking.)"""
        is_thinking = isinstance(self._newest, GrowingReasoning)
        return not self._items or (is_thinking and finished.reason == "stop")

    def _logprobs(self, output: Piece | Finished) -> list[AnswerLogprob]:
        """Those to be told with the output's text. Tokens of reasoning and of calls are not the text's; whose one is that shows
        nothing (it may begin a call) is told by what comes next."""
        if not output.text:
            is_elsewhere = isinstance(self._newest, GrowingReasoning | GrowingCall)
            if output.reasoning or output.calls or is_elsewhere:
                self._untold.clear()
                return []
        self._untold += output.logprobs
        if not output.text and isinstance(output, Piece):
            return []
        told, self._untold = self._untold, []
        return answer_logprobs(told)

    def _said(self, text: str, logprobs: list[AnswerLogprob]) -> Growth:
        item = self._last(GrowingMessage)
        item.pieces.append(text)
        item.logprobs += logprobs
        return Growth(item, text, logprobs)

    def _grown(self, item: GrowingItem, text: str) -> Growth:
        item.pieces.append(text)
        return Growth(item, text)

    @property
    def _newest(self) -> GrowingItem | None:
        return self._items[-1] if self._items else None

    def _last(self, kind: type[T]) -> T:
        """The item that grows, if it is of this kind, or a new one."""
        last = self._newest
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
