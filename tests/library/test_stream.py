"""Streams of text that cancel what has not ended."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from llmcore.errors import OverloadedError, RequestCancelledError
from llmcore.library.events import TextReader
from llmcore.library.stream import Stream
from llmcore.messages import Accepted, CallDelta, Failed, Finished, Output, Piece, TokenLogprob, Usage

USAGE = Usage(n_prompt=5, n_cached=2, n_generated=3, queue_s=0.1, prefill_s=0.2, decode_s=0.3)
LOGPROB = TokenLogprob(7, b"a", -0.5)
OUTPUTS: tuple[Piece | Finished, ...] = (
    Piece("r", "", 1, reasoning="Hm"),
    Piece("r", "", 1, reasoning="m."),
    Piece("r", "a", 1, logprobs=(LOGPROB,)),
    Piece("r", "", 1, calls=(CallDelta(0, "id", "clock"), CallDelta(0, arguments='{"a"'))),
    Finished("r", "b", "stop", USAGE, calls=(CallDelta(0, arguments=": 1}"), CallDelta(1, "other", "off"))),
)


class Script:
    """Outputs for a stream, and how often it cancelled."""

    def __init__(self, *outputs: Output) -> None:
        self._outputs: Iterator[Output] = iter(outputs)
        self.n_cancels = 0
        self.stream = Stream(lambda: next(self._outputs), self._cancel, TextReader())

    def _cancel(self) -> None:
        self.n_cancels += 1


def test_a_stream_gives_the_text_and_collects_the_rest() -> None:
    script = Script(Accepted("r", 5), *OUTPUTS)
    assert next(script.stream) == "a"
    assert not script.stream.finished
    assert list(script.stream) == ["b"]
    assert script.stream.finished == OUTPUTS[-1]
    assert script.stream.parts.reasoning == "Hmm."
    script.stream.close()
    assert script.n_cancels == 1


def test_a_stream_that_is_closed_ends_and_cancels_once() -> None:
    script = Script(*OUTPUTS)
    assert next(script.stream) == "a"
    script.stream.close()
    assert list(script.stream) == []
    del script.stream
    assert script.n_cancels == 1


def test_the_text_so_far_and_the_whole_answer() -> None:
    script = Script(*OUTPUTS)
    assert (next(script.stream), script.stream.text) == ("a", "a")
    whole = script.stream.completion
    assert (whole.text, whole.finish_reason, whole.reasoning) == ("ab", "tool_calls", "Hmm.")
    assert script.stream.completion == whole, "it can be asked for again"
    assert script.n_cancels == 1


def test_leaving_the_block_cancels() -> None:
    script = Script(*OUTPUTS)
    with script.stream as stream:
        next(stream)
    assert script.n_cancels == 1
    with pytest.raises(RequestCancelledError, match="closed before"):
        _ = script.stream.completion


def test_a_failure_is_raised_and_ends_the_stream() -> None:
    script = Script(OUTPUTS[2], Failed("r", "overloaded", "full"))
    assert next(script.stream) == "a"
    with pytest.raises(OverloadedError, match="full"):
        next(script.stream)
    assert list(script.stream) == []
    assert script.n_cancels == 1


def test_an_interrupt_while_waiting_cancels() -> None:
    def interrupted() -> Output:
        raise KeyboardInterrupt

    cancels: list[None] = []
    stream = Stream(interrupted, lambda: cancels.append(None), TextReader())
    with pytest.raises(KeyboardInterrupt):
        next(stream)
    assert cancels == [None]
