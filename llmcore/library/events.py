"""Events of a streamed answer: text, reasoning, tool calls and its end, each as a type of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llmcore.completion import CompletionBuilder, ToolCall
from llmcore.library.completion import Completion, completion_of
from llmcore.library.response_type import ResponseType
from llmcore.messages import Finished, Piece


@dataclass(frozen=True)
class TextEvent:
    """More text of the answer."""

    text: str


@dataclass(frozen=True)
class ReasoningEvent:
    """More text that the model thinks before it answers."""

    text: str


@dataclass(frozen=True)
class ToolCallEvent:
    """A call that the model asks for, once its arguments are complete."""

    call: ToolCall


@dataclass(frozen=True)
class FinishedEvent:
    """The last event: the whole answer."""

    completion: Completion


Event = TextEvent | ReasoningEvent | ToolCallEvent | FinishedEvent


class TextReader:
    """Reads an answer as pieces of its text."""

    def read(self, output: Piece | Finished, parts: CompletionBuilder) -> Iterator[str]:
        """Returns the items of an output, which `parts` contains already."""
        if output.text:
            yield output.text


class EventReader:
    """Reads an answer as events."""

    def __init__(self, response_type: ResponseType | None = None) -> None:
        self._response_type = response_type
        self._n_calls = 0  # that were returned

    def read(self, output: Piece | Finished, parts: CompletionBuilder) -> Iterator[Event]:
        """Returns the events of an output, which `parts` contains already. A call is complete when another one begins, or at the
        end."""
        if output.reasoning:
            yield ReasoningEvent(output.reasoning)
        if output.text:
            yield TextEvent(output.text)
        is_end = isinstance(output, Finished)
        n_complete = len(parts.tool_calls) if is_end else len(parts.tool_calls) - 1
        while self._n_calls < n_complete:
            self._n_calls += 1
            yield ToolCallEvent(parts.tool_calls[self._n_calls - 1])
        if is_end:
            yield FinishedEvent(completion_of(parts, self._response_type))
