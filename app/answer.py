"""An answer in the form of one endpoint: what it looks like whole, and in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from llmcore.messages import Finished, Usage

from .replies import AnswerEnd, PromptTokensDetails, TokenUsage


class AnswerForm(Protocol):
    """Makes the JSON values of one answer. `index` is that of the choice."""

    def first(self, index: int) -> msgspec.Struct | None:
        """The chunk before all text, if the endpoint has one."""

    def text(self, index: int, text: str) -> msgspec.Struct: ...

    def end(self, index: int, reason: AnswerEnd) -> msgspec.Struct: ...

    def usage(self, usage: TokenUsage) -> msgspec.Struct:
        """The last chunk, if the client asked for it."""

    def whole(self, choices: Sequence[Choice], usage: TokenUsage) -> msgspec.Struct: ...


@dataclass
class Choice:
    """One answer, complete."""

    text: str
    finish_reason: AnswerEnd


def end_of(finished: Finished) -> AnswerEnd:
    assert finished.reason != "cancelled", "Work does not pass on cancelled answers"
    return finished.reason


def total_usage(usages: Iterable[Usage]) -> TokenUsage:
    """Of all choices of a request."""
    usages = list(usages)
    n_prompt = sum(usage.n_prompt for usage in usages)
    n_generated = sum(usage.n_generated for usage in usages)
    cached = PromptTokensDetails(sum(usage.n_cached for usage in usages))
    return TokenUsage(n_prompt, n_generated, n_prompt + n_generated, cached)
