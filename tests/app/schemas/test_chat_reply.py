"""Replies of /v1/chat/completions are what OpenAI's SDK expects."""

from __future__ import annotations

import json

import msgspec
from openai.types.chat import ChatCompletion as SdkCompletion
from openai.types.chat import ChatCompletionChunk as SdkChunk

from llmcore_app.schemas.chat_reply import (
    AnswerCall,
    AnswerMessage,
    CallArguments,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChoiceDelta,
    ChunkCall,
    ChunkChoice,
    ChunkFunction,
)
from tests.app.schemas.test_usage import USAGE


def test_a_completion() -> None:
    call = AnswerCall("c1", CallArguments("clock", "{}"))
    choice = ChatChoice(0, AnswerMessage(None, tool_calls=[call]), "tool_calls")
    encoded = msgspec.json.encode(ChatCompletion("id", 1, "m", [choice], USAGE))
    message = SdkCompletion.model_validate_json(encoded).choices[0].message
    assert message.content is None
    assert message.tool_calls is not None
    assert message.tool_calls[0].model_dump()["function"] == {"name": "clock", "arguments": "{}"}


def test_fields_of_other_answers_are_absent() -> None:
    message = json.loads(msgspec.json.encode(AnswerMessage("Hi")))
    assert message == {"role": "assistant", "content": "Hi", "refusal": None}


def test_a_chunk() -> None:
    call = ChunkCall(0, ChunkFunction(name="clock"), id="c1", type="function")
    encoded = msgspec.json.encode(ChatChunk("id", 1, "m", [ChunkChoice(0, ChoiceDelta(tool_calls=[call]))]))
    delta = SdkChunk.model_validate_json(encoded).choices[0].delta
    assert delta.tool_calls is not None
    assert delta.tool_calls[0].id == "c1"
    assert json.loads(encoded)["choices"][0]["delta"].keys() == {"tool_calls"}


def test_usage_in_a_chunk_is_absent_null_or_given() -> None:
    absent, null = ChatChunk("id", 1, "m", []), ChatChunk("id", 1, "m", [], usage=None)
    assert "usage" not in json.loads(msgspec.json.encode(absent))
    assert json.loads(msgspec.json.encode(null))["usage"] is None
    given = SdkChunk.model_validate_json(msgspec.json.encode(ChatChunk("id", 1, "m", [], usage=USAGE)))
    assert given.usage is not None
    assert given.usage.total_tokens == 5
