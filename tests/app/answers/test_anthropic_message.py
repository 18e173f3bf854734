"""Why an answer ended, and its token counts."""

from __future__ import annotations

import pytest

from llmcore.messages import Finished, FinishReason, Usage
from llmcore_app.answers.anthropic_message import AnthropicMessageForm, anthropic_usage

FORM = AnthropicMessageForm("msg_1", "m", max_tokens=9, stop_sequences=("END",))


def finished(reason: FinishReason, stop_string: str = "", n_generated: int = 9) -> Finished:
    usage = Usage(n_prompt=7, n_cached=3, n_generated=n_generated, n_reasoning=2, queue_s=0, prefill_s=0, decode_s=0)
    return Finished("", "", reason, usage, stop_string=stop_string)


@pytest.mark.parametrize(
    ("output", "has_calls", "reason", "stop_sequence"),
    [
        (finished("stop"), False, "end_turn", None),
        (finished("stop"), True, "tool_use", None),
        (finished("stop", "END"), True, "stop_sequence", "END"),
        (finished("stop", "<|end|>"), False, "end_turn", None),
        (finished("length"), True, "max_tokens", None),
        (finished("length", n_generated=8), False, "model_context_window_exceeded", None),
    ],
)
def test_the_reason(output: Finished, has_calls: bool, reason: str, stop_sequence: str | None) -> None:
    stop = FORM.stop(output, has_calls=has_calls)
    assert (stop.stop_reason, stop.stop_sequence) == (reason, stop_sequence)


def test_cached_tokens_are_not_among_the_input_tokens() -> None:
    usage = anthropic_usage(finished("stop"))
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (4, 3, 9)
    assert usage.output_tokens_details is not None
    assert usage.output_tokens_details.thinking_tokens == 2
    assert FORM.begun(7).usage.input_tokens == 7
