"""What the library gives back: a whole answer, and how it is put together."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmcore.messages import Finished, FinishReason, Piece, TokenLogprob, ToolCall, Usage, collect_calls


@dataclass(frozen=True)
class Completion:
    """A whole answer. `str(completion)` is its text.

    Of a chat, `reasoning` is what the model thought before, and `tool_calls` what it wants called. `logprobs` are there if they
    were asked for.
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
    """An answer's parts beside its text, as they grow."""

    reasoning: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)

    def add(self, output: Piece | Finished) -> None:
        self.reasoning += output.reasoning
        self.logprobs += output.logprobs
        collect_calls(self.tool_calls, output.calls)
