"""Replies of Ollama's API, as types."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from llmcore.completion import ToolCall
from llmcore.messages import Finished, Usage
from llmcore_app.answers.ollama_form import AnswerPart, OllamaChatForm, OllamaGenerateForm, nanoseconds

ONE_TOKEN = Usage(n_prompt=3, n_cached=0, n_generated=1, queue_s=0.0, prefill_s=0.5, decode_s=0.0)


def plain(reply: msgspec.Struct) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(msgspec.json.encode(reply))
    return found


def test_clients_may_divide_by_every_duration_of_an_answer() -> None:
    end = plain(OllamaChatForm("m", 0.0).end(AnswerPart("a"), Finished("", "", "stop", ONE_TOKEN)))
    assert end["eval_count"] / end["eval_duration"] > 0
    assert nanoseconds(0.5) == 500_000_000


@pytest.mark.parametrize("arguments", ['{"zone": ', "[1]", '"text"'])
def test_a_call_that_was_cut_off_is_left_out(arguments: str) -> None:
    part = AnswerPart(calls=[ToolCall("1", "clock", arguments), ToolCall("2", "off")])
    calls = plain(OllamaChatForm("m", 0.0).part(part))["message"]["tool_calls"]
    assert [(call["id"], call["function"]["arguments"]) for call in calls] == [("2", {})]


def test_thinking_is_beside_the_text() -> None:
    part = AnswerPart("text", "thought")
    assert plain(OllamaGenerateForm("m", 0.0).part(part)).items() >= {"response": "text", "thinking": "thought"}.items()
    message = plain(OllamaChatForm("m", 0.0).part(part))["message"]
    assert message == {"content": "text", "role": "assistant", "thinking": "thought"}
    assert "thinking" not in plain(OllamaGenerateForm("m", 0.0).load())


def test_an_empty_part() -> None:
    assert AnswerPart().is_empty
    assert not AnswerPart(reasoning="x").is_empty
