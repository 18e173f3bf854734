"""Replies of /api/chat and /api/generate: parts of an answer, and the last one, which is the whole answer if it is not
streamed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .logprobs import AnswerLogprob

# "load" is the answer to a request without a prompt.
DoneReason = Literal["stop", "length", "load"]
Nanoseconds = Annotated[int, Meta(description="ns")]


class OllamaAnswerFunction(msgspec.Struct):
    name: str
    arguments: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]


class OllamaAnswerCall(msgspec.Struct):
    id: str
    function: OllamaAnswerFunction


class OllamaAnswerMessage(msgspec.Struct):
    content: str
    role: Literal["assistant"] = "assistant"
    thinking: str | UnsetType = UNSET
    tool_calls: list[OllamaAnswerCall] | UnsetType = UNSET


class OllamaReply(msgspec.Struct, kw_only=True):
    """Fields of both endpoints. Counts, times and `done_reason` are in the last part only."""

    model: str
    created_at: datetime
    done: bool = False
    done_reason: DoneReason | UnsetType = UNSET
    logprobs: list[AnswerLogprob] | UnsetType = UNSET
    total_duration: Annotated[Nanoseconds, Meta(description="since the request arrived, in ns")] | UnsetType = UNSET
    load_duration: Annotated[Nanoseconds, Meta(description="0: the model is loaded")] | UnsetType = UNSET
    prompt_eval_count: Annotated[int, Meta(description="tokens of the prompt")] | UnsetType = UNSET
    prompt_eval_duration: Nanoseconds | UnsetType = UNSET
    eval_count: Annotated[int, Meta(description="tokens of the answer")] | UnsetType = UNSET
    eval_duration: Nanoseconds | UnsetType = UNSET


class OllamaChatReply(OllamaReply, kw_only=True):
    message: OllamaAnswerMessage


class OllamaGenerateReply(OllamaReply, kw_only=True):
    response: str
    thinking: str | UnsetType = UNSET
