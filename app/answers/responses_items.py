"""Output items of a response, as they grow: reasoning, messages and function calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from llmcore.messages import CallDelta

from ..schemas import responses_events as events
from ..schemas.logprobs import AnswerLogprob
from ..schemas.responses_input import Status
from ..schemas.responses_reply import (
    ResponseCallItem,
    ResponseItem,
    ResponseMessageItem,
    ResponseReasoningItem,
    ResponseReasoningPart,
    ResponseTextPart,
)
from .logprobs import event_logprobs


class GrowingItem(ABC):
    """The item at `index` of a response's output."""

    id_prefix: ClassVar[str]

    def __init__(self, unique: str, index: int) -> None:
        """`unique` distinguishes the response in the ids of its items."""
        self.id = f"{self.id_prefix}_{unique}_{index}"
        self.index = index
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @abstractmethod
    def item(self, status: Status) -> ResponseItem:
        """Returns the item for the reply. While it is in progress, it has no text: deltas have it."""

    @abstractmethod
    def part(self, status: Status) -> events.ResponsePart | None:
        """Returns the one part of the item's content in the same way, or None if the item has no content."""

    @abstractmethod
    def delta(self, text: str) -> events.ResponseDelta: ...

    @abstractmethod
    def done(self) -> events.TextDone | events.ReasoningDone | events.ArgumentsDone: ...


class GrowingMessage(GrowingItem):
    id_prefix = "msg"

    def __init__(self, unique: str, index: int) -> None:
        super().__init__(unique, index)
        self.logprobs: list[AnswerLogprob] = []

    def item(self, status: Status) -> ResponseMessageItem:
        content = [] if status == "in_progress" else [self.part(status)]
        return ResponseMessageItem(self.id, status, content)

    def part(self, status: Status) -> ResponseTextPart:
        if status == "in_progress":
            return ResponseTextPart("")
        return ResponseTextPart(self.text, logprobs=tuple(self.logprobs))

    def delta(self, text: str, logprobs: Sequence[AnswerLogprob] = ()) -> events.TextDelta:
        return events.TextDelta(self.id, self.index, text, logprobs=event_logprobs(logprobs))

    def done(self) -> events.TextDone:
        return events.TextDone(self.id, self.index, self.text, logprobs=event_logprobs(self.logprobs))


class GrowingReasoning(GrowingItem):
    id_prefix = "rs"

    def item(self, status: Status) -> ResponseReasoningItem:
        content = [] if status == "in_progress" else [self.part(status)]
        return ResponseReasoningItem(self.id, status, content)

    def part(self, status: Status) -> ResponseReasoningPart:
        return ResponseReasoningPart("" if status == "in_progress" else self.text)

    def delta(self, text: str) -> events.ReasoningDelta:
        return events.ReasoningDelta(self.id, self.index, text)

    def done(self) -> events.ReasoningDone:
        return events.ReasoningDone(self.id, self.index, self.text)


class GrowingCall(GrowingItem):
    id_prefix = "fc"

    def __init__(self, unique: str, index: int, call: CallDelta) -> None:
        super().__init__(unique, index)
        self._call_id, self._name = call.id, call.name

    def item(self, status: Status) -> ResponseCallItem:
        arguments = "" if status == "in_progress" else self.text
        return ResponseCallItem(self.id, status, self._call_id, self._name, arguments)

    def part(self, status: Status) -> None:
        return None

    def delta(self, text: str) -> events.ArgumentsDelta:
        return events.ArgumentsDelta(self.id, self.index, text)

    def done(self) -> events.ArgumentsDone:
        return events.ArgumentsDone(self.id, self.index, self._name, self.text)
