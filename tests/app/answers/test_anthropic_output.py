"""Blocks in the order in which they begin."""

from __future__ import annotations

from llmcore.messages import CallDelta, Finished, FinishReason, Piece, Usage
from llmcore_app.answers.anthropic_output import AnthropicOutput

USAGE = Usage(n_prompt=1, n_cached=0, n_generated=1, queue_s=0, prefill_s=0, decode_s=0)


def kinds(*outputs: Piece | Finished, shows_thinking: bool = True) -> list[tuple[str, str]]:
    """Returns the class and the text of each block."""
    output, blocks = AnthropicOutput(shows_thinking=shows_thinking), {}
    for each in outputs:
        for growth in output.add(each):
            blocks[growth.block.index] = growth.block
    assert sorted(blocks) == list(range(len(blocks)))
    return [(type(block).__name__.removeprefix("Growing"), block.text) for block in blocks.values()]


def finished(text: str = "", reason: FinishReason = "stop") -> Finished:
    return Finished("", text, reason, USAGE)


def test_reasoning_comes_before_text_and_text_after_a_running_call_behind_it() -> None:
    call = CallDelta(0, "c", "f")
    found = kinds(
        Piece("", "b", 1, "a", (call,)), Piece("", "d", 1, "", (CallDelta(0, arguments="{}"),)), finished("e")
    )
    assert found == [("Thinking", "a"), ("Text", "b"), ("ToolUse", "{}"), ("Text", "de")]


def test_an_answer_without_text_gets_an_empty_one() -> None:
    assert kinds(finished()) == [("Text", "")]
    assert kinds(Piece("", "", 1, "a"), finished()) == [("Thinking", "a"), ("Text", "")]
    assert kinds(Piece("", "", 1, "a"), finished(reason="length")) == [("Thinking", "a")]


def test_thinking_can_be_left_out() -> None:
    assert kinds(Piece("", "b", 1, "a"), finished(), shows_thinking=False) == [("Thinking", ""), ("Text", "b")]
