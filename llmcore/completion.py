"""Answers put together from the engine's outputs."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmcore.messages import Finished, Piece, TokenLogprob


@dataclass
class ToolCall:
    """A call of a function that the model asks for. `arguments` is JSON text."""

    id: str
    name: str
    arguments: str = ""


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
