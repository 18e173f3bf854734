"""An answer of chat or completions: one choice as it is put together, and the forms of its replies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from llmcore.completion import CompletionBuilder
from llmcore.messages import Finished, Piece, TokenLogprob, Usage

from ..schemas.chat_reply import ChatChunk, ChoiceFinishReason
from ..schemas.completion_reply import TextCompletion
from ..schemas.usage import TokenUsage

AnswerChunk = ChatChunk | TextCompletion


class AnswerForm(Protocol):
    """Makes the replies of one endpoint. `index` is that of the choice."""

    def first_chunk(self, index: int) -> AnswerChunk | None:
        """Returns the chunk before all text, or None if the endpoint has none."""

    def text_chunk(self, index: int, text: str) -> AnswerChunk:
        """Returns a chunk of text alone."""

    def chunks(self, index: int, output: Piece | Finished) -> Iterable[AnswerChunk]:
        """Returns the chunks of an output that may have more than text."""

    def end_chunk(self, index: int, reason: ChoiceFinishReason) -> AnswerChunk: ...

    def usage_chunk(self, usage: TokenUsage) -> AnswerChunk:
        """Returns the last chunk, which is sent only if the client asked for usage."""

    def reply(self, choices: Sequence[AnswerChoice], usage: TokenUsage) -> msgspec.Struct:
        """Returns the complete answer, if it is not streamed."""


class AnswerChoice(CompletionBuilder):
    """One choice of an answer, put together from the engine's outputs."""

    @property
    def usage(self) -> Usage:
        assert self.finished is not None, "the choice has not finished"
        return self.finished.usage

    @property
    def prompt_logprobs(self) -> Sequence[TokenLogprob]:
        """Log-probabilities of the prompt's tokens from the second on; those of the first choice of each prompt alone."""
        assert self.finished is not None, "the choice has not finished"
        return self.finished.prompt_logprobs

    @property
    def finish_reason(self) -> ChoiceFinishReason:
        assert self.finished is not None, "the choice has not finished"
        return choice_finish_reason(self.finished, has_calls=bool(self.tool_calls))


def choice_finish_reason(finished: Finished, *, has_calls: bool) -> ChoiceFinishReason:
    reason = finished.reason
    assert reason == "stop" or reason == "length", "GenerationGroup raises for answers that were broken off"
    return "tool_calls" if reason == "stop" and has_calls else reason
