"""Replies of /v1/chat/completions, in one piece and in chunks."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .logprobs import ChatLogprobs, PromptLogprobs
from .usage import TokenUsage

# Digest of everything that decides the bits of an answer (llmcore.messages.Computation).
Fingerprint = Annotated[str, Meta(description="answers with the same fingerprint may be compared")]

ChoiceFinishReason = Literal["stop", "length", "tool_calls"]


class CallArguments(msgspec.Struct):
    name: str
    arguments: Annotated[str, Meta(description="JSON")]


class AnswerCall(msgspec.Struct):
    id: str
    function: CallArguments
    type: Literal["function"] = "function"


class AnswerMessage(msgspec.Struct):
    content: Annotated[str, Meta(description="null beside tool calls")] | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[AnswerCall] | UnsetType = UNSET


class ChatChoice(msgspec.Struct):
    index: int
    message: AnswerMessage
    finish_reason: ChoiceFinishReason
    logprobs: ChatLogprobs | None = None


class ChatCompletion(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage
    object: Literal["chat.completion"] = "chat.completion"
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET
    system_fingerprint: Fingerprint | UnsetType = UNSET


class ChunkFunction(msgspec.Struct):
    arguments: str = ""
    name: str | UnsetType = UNSET


class ChunkCall(msgspec.Struct):
    """Part of a tool call. The first one has id, type, name and empty arguments; all others have a piece of the arguments."""

    index: int
    function: ChunkFunction
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET


class ChoiceDelta(msgspec.Struct, omit_defaults=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ChunkCall] | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    index: int
    delta: ChoiceDelta
    finish_reason: ChoiceFinishReason | None = None
    logprobs: ChatLogprobs | None = None


class ChatChunk(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    usage: TokenUsage | UnsetType | None = UNSET  # absent unless it was asked for
    system_fingerprint: Fingerprint | UnsetType = UNSET
