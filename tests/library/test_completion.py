"""Answers as values: in a conversation, as JSON, as an object of a type."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest

from llmcore.completion import CompletionBuilder, ToolCall
from llmcore.errors import AnswerParseError
from llmcore.library.completion import Completion, completion_of, with_others
from llmcore.library.response_type import ResponseType
from llmcore.messages import Finished, FinishReason, TokenLogprob, TopLogprob, Usage

USAGE = Usage(n_prompt=5, n_cached=2, n_generated=3, queue_s=0.1, prefill_s=0.2, decode_s=0.3)
LOGPROBS = (TokenLogprob(7, b"\xff", -0.5, (TopLogprob(1, b"a", float("-inf")),)),)
CALL = ToolCall("id", "clock", '{"a": 1}')
ANSWER = Completion("ab", "tool_calls", USAGE, LOGPROBS, "Hm", (CALL,), (1, 2, 3))


@dataclass
class City:
    name: str
    is_capital: bool


def ended(text: str, reason: FinishReason = "stop", type: Any = None) -> Completion:
    builder = CompletionBuilder()
    builder.add(Finished("r", text, reason, USAGE, tokens=(4, 5)))
    return completion_of(builder, None if type is None else ResponseType(type))


def test_the_message_has_openais_form() -> None:
    function = {"name": "clock", "arguments": '{"a": 1}'}
    assert ANSWER.message == ANSWER.to_message()
    assert ANSWER.message == {
        "role": "assistant",
        "content": "ab",
        "reasoning_content": "Hm",
        "tool_calls": [{"id": "id", "type": "function", "function": function}],
    }
    assert ended("").message == {"role": "assistant", "content": ""}
    assert Completion("", "tool_calls", USAGE, tool_calls=(CALL,)).message["content"] is None


def test_everything_is_json() -> None:
    plain = ANSWER.to_dict()
    assert json.loads(ANSWER.to_json()) == plain == dict(ANSWER)
    assert plain["logprobs"][0]["bytes"] == [255]
    assert plain["logprobs"][0]["top"][0]["logprob"] is None, "JSON has no infinity"
    assert plain["token_ids"] == [1, 2, 3]
    assert plain.keys() == set(Completion.__struct_fields__)
    assert json.loads(msgspec.json.encode(ANSWER))["text"] == "ab"
    assert pickle.loads(pickle.dumps(ANSWER)) == ANSWER


def test_pydantic_carries_answers_as_fastapi_asks_it_to() -> None:
    adapter = pydantic.TypeAdapter(list[Completion])
    assert json.loads(adapter.dump_json([ANSWER])) == [ANSWER.to_dict()]
    assert adapter.json_schema(mode="serialization")["items"]["type"] == "object"


def test_an_answer_is_no_iterator_of_pieces() -> None:
    with pytest.raises(TypeError, match="not iterable"):
        iter(ANSWER)  # type: ignore[call-overload]


def test_parsed_is_the_value_asked_for() -> None:
    text = '{"name": "Rome", "is_capital": true}'
    assert ended(text, type=City).parsed == City("Rome", True)
    assert ended(text).parsed == {"name": "Rome", "is_capital": True}
    assert ended(text).parse(City).is_capital is True
    assert with_others([ended(text, type=City), ended("{}")]).parsed == City("Rome", True)


@pytest.mark.parametrize(
    ("text", "reason", "said"),
    [
        ('{"name": "Rome"}', "stop", "is_capital"),
        ("Rome", "stop", "not a value of City"),
        ('{"name": "Ro', "length", "ended by 'length' before it was complete"),
    ],
)
def test_what_cannot_be_parsed_is_a_typed_error(text: str, reason: FinishReason, said: str) -> None:
    with pytest.raises(AnswerParseError, match=said):
        _ = ended(text, reason, City).parsed


def test_several_answers_to_one_prompt() -> None:
    answer = with_others([ended("a"), ended("b")])
    assert [str(each) for each in answer.choices] == ["a", "b"]
    assert (answer.text, answer.token_ids) == ("a", (4, 5))
    assert answer.choices[1:] == answer.others
    assert ended("a").choices == (ended("a"),)
