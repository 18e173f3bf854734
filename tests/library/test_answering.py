"""generate() and chat(): one prompt or several, whole or as a stream."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from llmcore import LLM, Completion, Stream
from llmcore.errors import AnswerParseError
from llmcore.library.events import FinishedEvent, ToolCallEvent

ASKED = [{"role": "user", "content": "What time is it?"}]
TOOLS = [{"type": "function", "function": {"name": "clock"}}]


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Town:
    color: Color
    is_big: bool


@pytest.fixture(scope="module")
def chatty(default_model: Path) -> Iterator[LLM]:
    with LLM(default_model, n_ctx=2048) as loaded:
        yield loaded


def test_what_is_returned_depends_on_the_arguments(chatty: LLM) -> None:
    assert isinstance(chatty.generate("a", max_tokens=1), Completion)
    assert isinstance(chatty.generate(["a"], max_tokens=1), list)
    assert isinstance(chatty.generate("a", max_tokens=1, stream=True), Stream)
    assert len(chatty.generate("a", max_tokens=1, n=2).choices) == 2


def test_calls_end_an_answer_with_the_reason_of_the_service(chatty: LLM) -> None:
    answer = chatty.chat(ASKED, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=60)
    assert answer.finish_reason == "tool_calls"
    result = {"role": "tool", "tool_call_id": answer.tool_calls[0].id, "content": "9"}
    assert chatty.chat([*ASKED, answer, result], max_tokens=8).text
    assert chatty.chat([*ASKED, answer.message, result], max_tokens=8).text


def test_events_of_a_call(chatty: LLM) -> None:
    with chatty.chat(
        ASKED, tools=TOOLS, tool_choice="required", parallel_tool_calls=False, max_tokens=60, stream="events"
    ) as stream:
        called, finished = list(stream)
    assert isinstance(called, ToolCallEvent)
    assert isinstance(finished, FinishedEvent)
    assert finished.completion.tool_calls == (called.call,)
    assert finished.completion == stream.completion


@pytest.mark.parametrize("name", ["json_schema", "response_format"])
@pytest.mark.parametrize("type", [Town, Color, Literal["yes", "no"], bool])
def test_values_of_a_type(chatty: LLM, name: str, type: Any) -> None:
    options: dict[str, Any] = {name: type}
    for answer in chatty.generate(["A town:", "Another:"], max_tokens=40, seed=1, **options):
        assert answer.parse(type) == answer.parsed
    stream = chatty.generate("A town:", max_tokens=40, stream=True, **options)
    assert stream.completion.parsed is not None


def test_a_value_that_was_cut_is_a_typed_error(chatty: LLM) -> None:
    with pytest.raises(AnswerParseError, match="'length'"):
        _ = chatty.generate("A town:", json_schema=Town, max_tokens=3).parsed
