"""Tool calls of a streamed answer, put together. tests/app/routes/test_ollama.py tests the answers."""

from __future__ import annotations

from llmcore.completion import ToolCall
from llmcore.messages import CallDelta, Finished, Piece, Usage
from llmcore_app.answers.ollama_answer import CompleteCalls

USAGE = Usage(n_prompt=1, n_cached=0, n_generated=1, queue_s=0.0, prefill_s=0.0, decode_s=0.0)


def piece(*calls: CallDelta) -> Piece:
    return Piece("", "", 1, "", calls)


def test_a_call_is_complete_when_the_next_one_begins_or_the_answer_ends() -> None:
    calls = CompleteCalls()
    assert calls.add(piece(CallDelta(0, id="1", name="a"), CallDelta(0, arguments="{"))) == []
    assert calls.add(piece(CallDelta(0, arguments="}"))) == []
    assert calls.add(piece(CallDelta(1, id="2", name="b"))) == [ToolCall("1", "a", "{}")]
    assert calls.add(piece()) == []
    last = Finished("", "", "stop", USAGE, calls=(CallDelta(1, arguments="{}"), CallDelta(2, id="3", name="c")))
    assert calls.add(last) == [ToolCall("2", "b", "{}"), ToolCall("3", "c", "")]
