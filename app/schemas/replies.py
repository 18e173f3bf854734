"""What the service answers, as types: they are encoded, and they are the schemas in /openapi.json."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from llmcore.machine.threads import ThreadDecision

from .logprobs import ChatLogprobs, TextLogprobs

AnswerEnd = Literal["stop", "length", "tool_calls"]


class WorkerHealth(msgspec.Struct):
    state: Annotated[str, Meta(description="loading, ready, restarting, failed or stopped")]
    restarts: int


class Health(msgspec.Struct):
    status: str
    model_loaded: bool
    uptime: float
    worker: WorkerHealth
    threads: Annotated[
        ThreadDecision | UnsetType | None,
        Meta(description="where `verbose` asks: what was decided and from what; null while no model is loaded"),
    ] = UNSET


class Probe(msgspec.Struct):
    status: Annotated[str, Meta(description="ok, or why not")]


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


class Timings(msgspec.Struct):
    """llmcore's own. Of several choices: the longest times, their tokens together."""

    queue_s: Annotated[float, Meta(description="from submission to the first step for the prompt")]
    prefill_s: Annotated[float, Meta(description="from there to the first token")]
    ttft_s: Annotated[float, Meta(description="both together: from submission to the first token")]
    decode_s: Annotated[float, Meta(description="from the first token to the last")]
    tokens_per_s: Annotated[float, Meta(description="of decoding; null where no answer has two tokens")] | None
    restored_tokens: Annotated[int, Meta(description="of the cached tokens, those that came from the host tier")]


class CompletionTokensDetails(msgspec.Struct):
    reasoning_tokens: Annotated[int, Meta(description="before the first one of content or of a tool call")]


class TokenUsage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails
    timings: Timings


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
    finish_reason: AnswerEnd
    logprobs: ChatLogprobs | None = None


class ChatCompletion(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: TokenUsage
    object: Literal["chat.completion"] = "chat.completion"


class ChunkFunction(msgspec.Struct):
    arguments: str = ""
    name: str | UnsetType = UNSET


class ChunkCall(msgspec.Struct):
    """Of each call, the first one has id, type and name and empty arguments; all others have a piece of the arguments."""

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
    finish_reason: AnswerEnd | None = None
    logprobs: ChatLogprobs | None = None


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
    logprobs: TextLogprobs | None = None


class TextCompletion(msgspec.Struct):
    """A whole completion, and a chunk of a streamed one."""

    id: str
    created: int
    model: str
    choices: list[TextChoice]
    object: Literal["text_completion"] = "text_completion"
    usage: TokenUsage | UnsetType | None = UNSET


class Cancelled(msgspec.Struct):
    id: str
    cancelled: Annotated[int, Meta(description="how many requests of that id were alive")]
    object: Literal["request"] = "request"


class TokenizeReply(msgspec.Struct):
    tokens: list[int]


class DetokenizeReply(msgspec.Struct):
    content: str


class AppliedTemplate(msgspec.Struct):
    prompt: str


class PrefixCard(msgspec.Struct):
    name: str
    tokens: int
    computed: bool
    object: Literal["prefix"] = "prefix"


class PrefixList(msgspec.Struct):
    data: list[PrefixCard]
    object: Literal["list"] = "list"


class PrefixDeleted(msgspec.Struct):
    name: str
    object: Literal["prefix"] = "prefix"
    deleted: Literal[True] = True
