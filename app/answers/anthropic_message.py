"""The message of Anthropic's API: before its answer, and complete."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from llmcore.messages import Finished

from ..schemas.anthropic_events import AnthropicStop
from ..schemas.anthropic_reply import AnthropicOutputDetails, AnthropicReply, AnthropicUsage, StopReason
from .anthropic_output import AnthropicOutput
from .usage import total_usage


@dataclass(frozen=True)
class AnthropicMessageForm:
    """Makes the replies of one request. `max_tokens` is the longest answer that was asked for."""

    id: str
    model: str
    max_tokens: int
    stop_sequences: Collection[str]

    def begun(self, n_prompt: int) -> AnthropicReply:
        """Returns the message before its answer. How many of its prompt's tokens are cached is not known yet."""
        usage = AnthropicUsage(
            input_tokens=n_prompt, output_tokens=0, cache_read_input_tokens=0, cache_creation_input_tokens=0
        )
        return AnthropicReply(id=self.id, model=self.model, usage=usage)

    def complete(self, output: AnthropicOutput, finished: Finished) -> AnthropicReply:
        """Returns the message with its answer."""
        stop = self.stop(finished, has_calls=output.has_calls)
        return AnthropicReply(
            id=self.id,
            model=self.model,
            usage=anthropic_usage(finished),
            content=output.content(),
            stop_reason=stop.stop_reason,
            stop_sequence=stop.stop_sequence,
        )

    def stop(self, finished: Finished, *, has_calls: bool) -> AnthropicStop:
        """Returns why the answer ended."""
        stop_sequence = finished.stop_string if finished.stop_string in self.stop_sequences else None
        return AnthropicStop(self._reason(finished, stop_sequence, has_calls=has_calls), stop_sequence)

    def _reason(self, finished: Finished, stop_sequence: str | None, *, has_calls: bool) -> StopReason:
        assert finished.reason in ("stop", "length"), "GenerationGroup raises for answers that were broken off"
        if finished.reason == "length":
            is_short = finished.usage.n_generated < self.max_tokens
            return "model_context_window_exceeded" if is_short else "max_tokens"
        if stop_sequence is not None:
            return "stop_sequence"
        return "tool_use" if has_calls else "end_turn"


def anthropic_usage(finished: Finished) -> AnthropicUsage:
    """Returns the token counts of an answer. In this API, cached tokens are not among the input tokens."""
    usage = total_usage([finished.usage])
    n_cached = finished.usage.n_cached
    return AnthropicUsage(
        input_tokens=usage.prompt_tokens - n_cached,
        output_tokens=usage.completion_tokens,
        cache_read_input_tokens=n_cached,
        cache_creation_input_tokens=0,
        output_tokens_details=AnthropicOutputDetails(finished.usage.n_reasoning),
        timings=usage.timings or None,
    )
