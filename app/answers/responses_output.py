"""The output of a response, put together from the engine's outputs: items in the order in which they begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

from llmcore.messages import CallDelta, Finished, Piece, TokenLogprob

from ..schemas import responses_events as events
from ..schemas.logprobs import AnswerLogprob
from ..schemas.responses_input import Status
from ..schemas.responses_reply import ResponseItem
from .logprobs import answer_logprobs
from .responses_items import GrowingCall, GrowingItem, GrowingMessage, GrowingReasoning

T = TypeVar("T", GrowingMessage, GrowingReasoning)


class Growth(NamedTuple):
    """A piece that was added to an item, and the log-probabilities to send with it."""

    item: GrowingItem
    text: str
    logprobs: Sequence[AnswerLogprob] = ()

    def event(self) -> events.ResponseDelta:
        if isinstance(self.item, GrowingMessage):
            return self.item.delta(self.text, self.logprobs)
        return self.item.delta(self.text)


class ResponseOutput:
    """The output items of one response. `unique` distinguishes the response in their ids."""

    def __init__(self, unique: str) -> None:
        self._unique = unique
        self._items: list[GrowingItem] = []
        self._calls: list[GrowingCall] = []
        self._held_logprobs: list[TokenLogprob] = []  # of tokens whose text comes later

    def add(self, output: Piece | Finished) -> Iterator[Growth]:
        """Adds an output of the engine. The first growth of a new item may be empty; the item before it is then complete."""
        logprobs = self._text_logprobs(output)
        if output.reasoning:
            yield self._add_piece(self._growing(GrowingReasoning), output.reasoning)
        # Text that comes with a piece of a running call was generated after the call.
        is_calling = isinstance(self._newest, GrowingCall)
        if output.text and not is_calling:
            yield self._add_text(output.text, logprobs)
        for delta in output.calls:
            yield self._add_piece(self._call(delta), delta.arguments)
        if output.text and is_calling:
            yield self._add_text(output.text, logprobs)
        if isinstance(output, Finished) and not output.text and (logprobs or self._lacks_message(output)):
            yield self._add_text("", logprobs)

    def items(self, last: Status) -> list[ResponseItem]:
        """Returns the items for the reply; `last` is the status of the last one."""
        return [each.item("completed") for each in self._items[:-1]] + [each.item(last) for each in self._items[-1:]]

    def _lacks_message(self, finished: Finished) -> bool:
        """True if an empty message must be added, because clients look for one: nothing was generated, or the model stopped
        after its reasoning. (If it reached its length there, it was still reasoning.)"""
        is_reasoning = isinstance(self._newest, GrowingReasoning)
        return not self._items or (is_reasoning and finished.reason == "stop")

    def _text_logprobs(self, output: Piece | Finished) -> list[AnswerLogprob]:
        """Returns the log-probabilities to send with the output's text.

        Tokens of reasoning and of calls are not part of the text. Those of a token without visible text are held: it may begin a
        call or be a part of the next text.
        """
        if not output.text:
            is_elsewhere = isinstance(self._newest, GrowingReasoning | GrowingCall)
            if output.reasoning or output.calls or is_elsewhere:
                self._held_logprobs.clear()
                return []
        self._held_logprobs += output.logprobs
        if not output.text and isinstance(output, Piece):
            return []
        logprobs, self._held_logprobs = self._held_logprobs, []
        return answer_logprobs(logprobs)

    def _add_text(self, text: str, logprobs: list[AnswerLogprob]) -> Growth:
        item = self._growing(GrowingMessage)
        item.pieces.append(text)
        item.logprobs += logprobs
        return Growth(item, text, logprobs)

    def _add_piece(self, item: GrowingItem, text: str) -> Growth:
        item.pieces.append(text)
        return Growth(item, text)

    @property
    def _newest(self) -> GrowingItem | None:
        return self._items[-1] if self._items else None

    def _growing(self, kind: type[T]) -> T:
        """Returns the newest item if it is of this kind, or else adds a new one."""
        newest = self._newest
        if isinstance(newest, kind):
            return newest
        item = kind(self._unique, len(self._items))
        self._items.append(item)
        return item

    def _call(self, delta: CallDelta) -> GrowingCall:
        """Returns the call that `delta` belongs to. A delta with a name begins a new one."""
        if delta.name:
            self._calls.append(GrowingCall(self._unique, len(self._items), delta))
            self._items.append(self._calls[-1])
        return self._calls[delta.index]
