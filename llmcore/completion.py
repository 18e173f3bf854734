"""Answers as the library returns them: whole, or as a stream of text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llmcore.errors import error_from_code
from llmcore.messages import Failed, Finished, FinishReason, Output, Piece, TokenLogprob, Usage


@dataclass
class ToolCall:
    """A call of a function that the model asks for. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str = ""


@dataclass(frozen=True)
class Completion:
    """A whole answer. `str(completion)` is its text.

    For a chat, `reasoning` is the text that the model thought before it answered, and `tool_calls` are the calls that it asks
    for. `logprobs` is empty unless it was asked for.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()

    def __str__(self) -> str:
        return self.text


@dataclass
class CompletionBuilder:
    """Puts an answer together from the engine's outputs. `finished` is None until the last one."""

    texts: list[str] = field(default_factory=list)
    reasonings: list[str] = field(default_factory=list)
    tool_calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    finished: Finished | None = None

    def add(self, output: Piece | Finished) -> None:
        self.texts.append(output.text)
        self.logprobs += output.logprobs
        if output.reasoning:
            self.reasonings.append(output.reasoning)
        for delta in output.calls:
            if delta.name:  # the first one of a call
                self.tool_calls.append(ToolCall(delta.id, delta.name))
            self.tool_calls[delta.index].arguments += delta.arguments
        if isinstance(output, Finished):
            self.finished = output

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def reasoning(self) -> str:
        return "".join(self.reasonings)

    def completion(self) -> Completion:
        """The whole answer, once it has ended."""
        assert self.finished is not None, "an answer ends with Finished or an error"
        reason, usage = self.finished.reason, self.finished.usage
        return Completion(self.text, reason, usage, tuple(self.logprobs), self.reasoning, tuple(self.tool_calls))


class Stream(Iterator[str]):
    """Pieces of an answer's text as they are generated. Closing it, or dropping it, cancels what has not ended.

    `parts` grows with the answer: reasoning, tool calls, and log-probabilities if they were asked for.
    """

    def __init__(self, next_output: Callable[[], Output], cancel: Callable[[], None]) -> None:
        """`next_output` waits for the request's next output; `cancel` is called once, when the stream ends or is closed."""
        self._next_output = next_output
        self._cancel = cancel
        self._is_closed = False
        self.parts = CompletionBuilder()

    @property
    def finished(self) -> Finished | None:
        """The finish reason and the usage; None until the last piece was returned."""
        return self.parts.finished

    def __next__(self) -> str:
        while not self._is_closed:
            try:
                output = self._next_output()
            except BaseException:
                self.close()
                raise
            if isinstance(output, Failed):
                self.close()
                raise error_from_code(output.code, output.message, output.param)
            if isinstance(output, (Piece, Finished)):
                self.parts.add(output)
                if isinstance(output, Finished):
                    self.close()
                if output.text:
                    return output.text
        raise StopIteration

    def close(self) -> None:
        """Cancels the request if it has not ended. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._cancel()

    def __del__(self) -> None:
        self.close()
