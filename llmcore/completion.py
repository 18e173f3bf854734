"""Answers as the library returns them, and their parts."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmcore.messages import Finished, FinishReason, Piece, TokenLogprob, Usage


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
    for. `logprobs` and `prompt_logprobs` (of the prompt's tokens, from the second on) are empty unless they were asked for.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()

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
        return Completion(
            self.text,
            reason,
            usage,
            tuple(self.logprobs),
            self.reasoning,
            tuple(self.tool_calls),
            self.finished.prompt_logprobs,
        )
