"""Answers as the library returns them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypeVar

import msgspec

from llmcore.completion import CompletionBuilder, ToolCall
from llmcore.errors import AnswerParseError
from llmcore.library.response_type import ResponseType
from llmcore.messages import Finished, FinishReason, TokenLogprob, TopLogprob, Usage

T = TypeVar("T")

AnswerFinishReason = FinishReason | Literal["tool_calls"]


class Completion(msgspec.Struct, frozen=True, dict=True):
    """A whole answer. `str(completion)` is its text.

    `reasoning` is the text that the model thought before it answered, and `tool_calls` are the calls that it asks for.
    `finish_reason` is "tool_calls" if it ended with calls. `token_ids` are all its tokens, including the one that ended it.
    `logprobs` and `prompt_logprobs` (of the prompt's tokens, from the second on) are empty unless they were asked for.
    `others` are the further answers to the same prompt, with n=.

    It can be put into messages as it is, and returned from a FastAPI route. (It is a mapping as far as dict() goes.)
    """

    text: str
    finish_reason: AnswerFinishReason
    usage: Usage
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    token_ids: tuple[int, ...] = ()
    others: tuple[Completion, ...] = ()
    prompt_logprobs: tuple[TokenLogprob, ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def choices(self) -> tuple[Completion, ...]:
        """All answers to the prompt: this one, and `others`."""
        return (self, *self.others)

    # --- In a conversation --------------------------------------------------------------------------------------------

    @property
    def message(self) -> dict[str, Any]:
        """The message of the assistant in OpenAI's form, to append to the messages of a conversation."""
        calls = [
            {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
            for each in self.tool_calls
        ]
        message: dict[str, Any] = {"role": "assistant", "content": self.text if self.text or not calls else None}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if calls:
            message["tool_calls"] = calls
        return message

    def to_message(self) -> dict[str, Any]:
        """Returns `message`. arguments.py calls it for answers among messages."""
        return self.message

    # --- As a value ---------------------------------------------------------------------------------------------------

    @property
    def parsed(self) -> Any:
        """The value of an answer in JSON: an object of the type given as json_schema= or response_format=, else plain Python
        values. Raises AnswerParseError."""
        wanted: ResponseType = self.__dict__.get("_response_type", ResponseType(Any))
        try:
            return wanted.read(self.text)
        except AnswerParseError as error:
            if self.finish_reason == "stop":
                raise
            message = f"{error.message} (it ended by {self.finish_reason!r} before it was complete)"
            raise AnswerParseError(message) from error

    def parse(self, type: type[T]) -> T:
        """Reads the JSON of the answer as a type: a pydantic model, dataclass, Struct … Raises AnswerParseError."""
        value: T = ResponseType(type).read(self.text)
        return value

    # --- As JSON ------------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as plain values that JSON can carry. Bytes of tokens are lists of numbers, as in OpenAI's API."""
        return {
            "text": self.text,
            "finish_reason": self.finish_reason,
            "usage": msgspec.structs.asdict(self.usage),
            "logprobs": _logprobs(self.logprobs),
            "reasoning": self.reasoning,
            "tool_calls": [asdict(each) for each in self.tool_calls],
            "token_ids": list(self.token_ids),
            "others": [each.to_dict() for each in self.others],
            "prompt_logprobs": _logprobs(self.prompt_logprobs),
        }

    def to_json(self) -> str:
        """Returns to_dict() as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    # dict() takes these two, and with them FastAPI's encoder. There is no iteration: `for piece in llm.chat(messages)` is a
    # mistake (stream=True was meant).
    def keys(self) -> Iterator[str]:
        return iter(self.__struct_fields__)

    def __getitem__(self, name: str) -> Any:
        return self.to_dict()[name]

    __iter__ = None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Lets pydantic carry answers, and write them by to_dict(): FastAPI asks for it if a route is annotated."""
        from pydantic_core import core_schema

        write = core_schema.plain_serializer_function_ser_schema(cls.to_dict, return_schema=core_schema.dict_schema())
        return core_schema.is_instance_schema(cls, serialization=write)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"title": "Completion", "type": "object"}


def completion_of(
    parts: CompletionBuilder, response_type: ResponseType | None = None, others: Sequence[Completion] = ()
) -> Completion:
    """Returns an answer that has ended."""
    finished = parts.finished
    assert finished is not None, "an answer ends with Finished or an error"
    completion = Completion(
        text=parts.text,
        finish_reason=finish_reason(finished, has_calls=bool(parts.tool_calls)),
        usage=finished.usage,
        logprobs=tuple(parts.logprobs),
        reasoning=parts.reasoning,
        tool_calls=tuple(parts.tool_calls),
        token_ids=finished.tokens,
        others=tuple(others),
        prompt_logprobs=finished.prompt_logprobs,
    )
    if response_type is not None:
        completion.__dict__["_response_type"] = response_type  # beside the fields: it is no part of the answer
    return completion


def with_others(choices: Iterable[Completion]) -> Completion:
    """Returns the first of several answers to one prompt, with the others in it."""
    first, *others = choices
    joined = msgspec.structs.replace(first, others=tuple(others))
    joined.__dict__.update(first.__dict__)
    return joined


def finish_reason(finished: Finished, *, has_calls: bool) -> AnswerFinishReason:
    """Returns the reason as the service gives it: "tool_calls" for an answer that stopped after calls."""
    return "tool_calls" if finished.reason == "stop" and has_calls else finished.reason


def _logprobs(tokens: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    return [{**_logprob(each), "top": [_logprob(top) for top in each.top]} for each in tokens]


def _logprob(token: TokenLogprob | TopLogprob) -> dict[str, Any]:
    """`logprob` is None if the model excludes the token: JSON has no infinity."""
    logprob = token.logprob if math.isfinite(token.logprob) else None
    text = token.data.decode("utf-8", "replace")
    return {"token_id": token.token, "token": text, "bytes": list(token.data), "logprob": logprob}
