"""An answer in the form of one endpoint: what it looks like whole, and in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from llmcore.completion import CompletionBuilder
from llmcore.messages import Finished, Piece, Usage

from ..metrics.rates import tokens_per_s
from ..schemas.replies import AnswerEnd, CompletionTokensDetails, PromptTokensDetails, Timings, TokenUsage


class AnswerForm(Protocol):
    """Makes the JSON values of one answer. `index` is that of the choice."""

    def first(self, index: int) -> msgspec.Struct | None:
        """The chunk before all text, if the endpoint has one."""

    def text(self, index: int, text: str) -> msgspec.Struct:
        """A chunk of text alone."""

    def parts(self, index: int, output: Piece | Finished) -> Iterable[msgspec.Struct]:
        """The chunks of an output that may have more than text."""

    def end(self, index: int, reason: AnswerEnd) -> msgspec.Struct: ...

    def usage(self, usage: TokenUsage) -> msgspec.Struct:
        """The last chunk, if the client asked for it."""

    def whole(self, choices: Sequence[AnswerChoice], usage: TokenUsage) -> msgspec.Struct: ...


class AnswerChoice(CompletionBuilder):
    """One answer of a request, as it is put together."""

    @property
    def usage(self) -> Usage:
        assert self.finished is not None, "asked before the end"
        return self.finished.usage

    @property
    def finish_reason(self) -> AnswerEnd:
        assert self.finished is not None, "asked before the end"
        return end_of(self.finished, has_calls=bool(self.tool_calls))


def end_of(finished: Finished, *, has_calls: bool) -> AnswerEnd:
    reason = finished.reason
    assert reason == "stop" or reason == "length", "Work raises for answers that were broken off"
    return "tool_calls" if reason == "stop" and has_calls else reason


def total_usage(usages: Sequence[Usage], n_per_prompt: int = 1) -> TokenUsage:
    """Of all choices of a request, in their order: so many for each prompt, which counts once. As cached counts what no
    choice had to compute, for what one computes the others of its prompt find in the cache."""
    groups = [usages[start : start + n_per_prompt] for start in range(0, len(usages), n_per_prompt)]
    n_prompt = sum(group[0].n_prompt for group in groups)
    n_generated = sum(usage.n_generated for usage in usages)
    cached = PromptTokensDetails(sum(min(usage.n_cached for usage in group) for group in groups))
    details = CompletionTokensDetails(sum(usage.n_reasoning for usage in usages))
    return TokenUsage(n_prompt, n_generated, n_prompt + n_generated, cached, details, _timings(usages))


def _timings(usages: Sequence[Usage]) -> Timings:
    rate = tokens_per_s(usages)
    return Timings(
        queue_s=_longest(usage.queue_s for usage in usages),
        prefill_s=_longest(usage.prefill_s for usage in usages),
        ttft_s=_longest(usage.queue_s + usage.prefill_s for usage in usages),
        decode_s=_longest(usage.decode_s for usage in usages),
        tokens_per_s=None if rate is None else round(rate, 3),
        restored_tokens=sum(usage.n_restored for usage in usages),
    )


def _longest(times_s: Iterable[float]) -> float:
    return round(max(times_s), 6)  # microseconds: what follows is noise
