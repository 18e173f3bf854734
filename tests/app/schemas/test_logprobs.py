"""Log-probabilities in replies are what OpenAI's SDK expects."""

from __future__ import annotations

import msgspec
from openai.types.chat.chat_completion import ChoiceLogprobs
from openai.types.completion_choice import Logprobs
from openai.types.responses.response_text_delta_event import Logprob

from llmcore_app.schemas.logprobs import (
    AnswerLogprob,
    AnswerTopLogprob,
    ChatLogprobs,
    EventLogprob,
    EventTopLogprob,
    TextLogprobs,
)


def test_chat() -> None:
    token = AnswerLogprob("a", -0.5, [97], [AnswerTopLogprob("b", -1.0, [98])])
    read = ChoiceLogprobs.model_validate_json(msgspec.json.encode(ChatLogprobs([token])))
    assert read.content is not None
    assert (read.content[0].bytes, read.content[0].top_logprobs[0].token) == ([97], "b")


def test_text_completions() -> None:
    lists = TextLogprobs(["a"], [-0.5], [{"b": -1.0}], [0])
    read = Logprobs.model_validate_json(msgspec.json.encode(lists))
    assert (read.tokens, read.top_logprobs, read.text_offset) == (["a"], [{"b": -1.0}], [0])


def test_events_have_no_bytes() -> None:
    encoded = msgspec.json.encode(EventLogprob("a", -0.5, [EventTopLogprob("b", -1.0)]))
    assert Logprob.model_validate_json(encoded).token == "a"
    assert b"bytes" not in encoded
