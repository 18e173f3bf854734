"""What the service answers, as types: they are encoded, and they are the schemas in /openapi.json."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

AnswerEnd = Literal["stop", "length"]


class ErrorBody(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str


class ErrorReply(msgspec.Struct):
    error: ErrorBody


class Health(msgspec.Struct):
    status: str
    model_loaded: bool
    uptime: float


class ModelCard(msgspec.Struct):
    id: str
    created: int
    object: Literal["model"] = "model"
    owned_by: str = "llmcore"
    context_length: int | None = None


class ModelList(msgspec.Struct):
    data: list[ModelCard]
    object: Literal["list"] = "list"


class PromptTokensDetails(msgspec.Struct):
    cached_tokens: int


class TokenUsage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class AnswerMessage(msgspec.Struct):
    content: str
    role: Literal["assistant"] = "assistant"
    refusal: None = None


class ChatChoice(msgspec.Struct):
    index: int
    message: AnswerMessage
    finish_reason: AnswerEnd
    logprobs: None = None


class ChatCompletion(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage
    object: Literal["chat.completion"] = "chat.completion"


class Delta(msgspec.Struct, omit_defaults=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChunkChoice(msgspec.Struct):
    index: int
    delta: Delta
    finish_reason: AnswerEnd | None = None
    logprobs: None = None


class ChatChunk(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[ChunkChoice]
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    usage: TokenUsage | UnsetType | None = UNSET  # absent unless it was asked for


class TextChoice(msgspec.Struct):
    index: int
    text: str
    finish_reason: AnswerEnd | None = None
    logprobs: None = None


class TextCompletion(msgspec.Struct):
    """A whole completion, and a chunk of a streamed one."""

    id: str
    created: int
    model: str
    choices: list[TextChoice]
    object: Literal["text_completion"] = "text_completion"
    usage: TokenUsage | UnsetType | None = UNSET
