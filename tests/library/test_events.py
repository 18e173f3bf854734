"""Events of an answer."""

from __future__ import annotations

from llmcore.completion import CompletionBuilder, ToolCall
from llmcore.library.events import Event, EventReader, FinishedEvent, ReasoningEvent, TextEvent, ToolCallEvent
from llmcore.messages import CallDelta, Finished, Piece, Usage

USAGE = Usage(n_prompt=5, n_cached=2, n_generated=3, queue_s=0.1, prefill_s=0.2, decode_s=0.3)


def events(*outputs: Piece | Finished) -> list[Event]:
    parts, reader, found = CompletionBuilder(), EventReader(), list[Event]()
    for output in outputs:
        parts.add(output)
        found += reader.read(output, parts)
    return found


def test_calls_are_events_when_they_are_complete() -> None:
    found = events(
        Piece("r", "", 1, reasoning="Hm"),
        Piece("r", "a", 1),
        Piece("r", "", 1, calls=(CallDelta(0, "id", "clock"), CallDelta(0, arguments='{"a"'))),
        Piece("r", "", 1),
        Piece("r", "", 1, calls=(CallDelta(0, arguments=": 1}"), CallDelta(1, "other", "off"))),
        Finished("r", "", "stop", USAGE, calls=(CallDelta(1, arguments="{}"),)),
    )
    calls = [ToolCall("id", "clock", '{"a": 1}'), ToolCall("other", "off", "{}")]
    assert found[:-1] == [ReasoningEvent("Hm"), TextEvent("a"), *map(ToolCallEvent, calls)]
    last = found[-1]
    assert isinstance(last, FinishedEvent)
    assert (last.completion.finish_reason, list(last.completion.tool_calls)) == ("tool_calls", calls)


def test_an_answer_of_text_alone() -> None:
    found = events(Piece("r", "a", 1), Piece("r", "", 1), Finished("r", "b", "length", USAGE))
    assert found[:2] == [TextEvent("a"), TextEvent("b")]
    assert [type(each) for each in found[2:]] == [FinishedEvent]
