"""Answers put together from the engine's outputs."""

from __future__ import annotations

from llmcore.completion import CompletionBuilder, ToolCall
from llmcore.messages import CallDelta, Finished, Piece, TokenLogprob, Usage

USAGE = Usage(n_prompt=5, n_cached=2, n_generated=3, queue_s=0.1, prefill_s=0.2, decode_s=0.3)
LOGPROB = TokenLogprob(7, b"a", -0.5)
OUTPUTS: tuple[Piece | Finished, ...] = (
    Piece("r", "", 1, reasoning="Hm"),
    Piece("r", "", 1, reasoning="m."),
    Piece("r", "a", 1, logprobs=(LOGPROB,)),
    Piece("r", "", 1, calls=(CallDelta(0, "id", "clock"), CallDelta(0, arguments='{"a"'))),
    Finished("r", "b", "stop", USAGE, calls=(CallDelta(0, arguments=": 1}"), CallDelta(1, "other", "off"))),
)


def test_an_answer_is_put_together() -> None:
    builder = CompletionBuilder()
    for output in OUTPUTS:
        builder.add(output)
    assert (builder.text, builder.reasoning, builder.logprobs) == ("ab", "Hmm.", [LOGPROB])
    assert builder.tool_calls == [ToolCall("id", "clock", '{"a": 1}'), ToolCall("other", "off")]
    assert builder.finished == OUTPUTS[-1]
