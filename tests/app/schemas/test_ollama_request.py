"""Requests of Ollama's API. tests/app/routes/test_ollama.py tests what the engine gets."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from llmcore.messages import ChatPrompt
from llmcore_app.http.errors import ApiError
from llmcore_app.schemas.ollama_request import OllamaChatRequest, OllamaGenerateRequest


def chat(**fields: Any) -> OllamaChatRequest:
    return msgspec.json.decode(msgspec.json.encode(fields), type=OllamaChatRequest)


def test_streams_are_the_default() -> None:
    assert (chat().is_streamed, chat(stream=None).is_streamed, chat(stream=False).is_streamed) == (True, True, False)


def test_an_answer_that_was_begun_is_continued() -> None:
    question, begun = {"role": "user", "content": "x"}, {"role": "assistant", "content": "The"}
    assert chat(messages=[question, begun]).engine_prompt(None).continue_final_message
    assert not chat(messages=[question]).engine_prompt(None).continue_final_message


def test_requests_that_only_load() -> None:
    assert chat(messages=[]).only_loads
    assert OllamaGenerateRequest(prompt="").only_loads
    assert not OllamaGenerateRequest(prompt="x").only_loads


def test_tools_of_the_same_name() -> None:
    tool = {"function": {"name": "a"}}
    with pytest.raises(ApiError, match="defined twice"):
        chat(messages=[{"role": "user"}], tools=[tool, tool]).engine_prompt(None)


@pytest.mark.parametrize("given", ["xml", True, 0, [], '{"type": "object"}'])
def test_formats_that_are_none(given: object) -> None:
    with pytest.raises(ApiError, match="Invalid format"):
        chat(format=given).constraint()


def test_a_schema_that_is_not_utf8() -> None:
    request = msgspec.json.decode(b'{"format": {"title": "\xff"}}', type=OllamaChatRequest)
    with pytest.raises(ApiError, match="not valid UTF-8"):
        request.constraint()


def test_a_prompt_without_raw_is_a_chat() -> None:
    assert isinstance(OllamaGenerateRequest(prompt="x", raw=False, suffix="").engine_prompt(None), ChatPrompt)
