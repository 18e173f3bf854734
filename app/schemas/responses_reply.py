"""Replies of /v1/responses: the Response object and its items, in the forms of OpenAI's SDK."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..http.priority import AppliedTier
from .logprobs import AnswerLogprob
from .responses_input import Status
from .usage import Timings

ResponseStatus = Literal["in_progress", "completed", "incomplete", "failed"]


class ResponseTextPart(msgspec.Struct, tag_field="type", tag="output_text"):
    text: str
    annotations: tuple[()] = ()
    logprobs: tuple[AnswerLogprob, ...] = ()


class ResponseReasoningPart(msgspec.Struct, tag_field="type", tag="reasoning_text"):
    text: str


class ResponseMessageItem(msgspec.Struct, tag_field="type", tag="message"):
    id: str
    status: Status
    content: list[ResponseTextPart]
    role: Literal["assistant"] = "assistant"


class ResponseCallItem(msgspec.Struct, tag_field="type", tag="function_call"):
    id: str
    status: Status
    call_id: Annotated[str, Meta(description="what a function_call_output refers to")]
    name: str
    arguments: Annotated[str, Meta(description="JSON")]


class ResponseReasoningItem(msgspec.Struct, tag_field="type", tag="reasoning"):
    """Reasoning of the model, unencrypted."""

    id: str
    status: Status
    content: list[ResponseReasoningPart]
    summary: tuple[()] = ()
    encrypted_content: None = None


ResponseItem = ResponseMessageItem | ResponseCallItem | ResponseReasoningItem


class InputTokensDetails(msgspec.Struct):
    cached_tokens: int
    cache_write_tokens: Annotated[int, Meta(description="0: no write is accounted for")] = 0


class OutputTokensDetails(msgspec.Struct):
    reasoning_tokens: Annotated[int, Meta(description="before the first one of content or of a tool call")]


class ResponseUsage(msgspec.Struct):
    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int
    timings: Timings


class ResponseError(msgspec.Struct):
    """SDKs know a fixed list of codes here; llmcore's own code is in the event `error`."""

    message: str
    code: Literal["server_error"] = "server_error"


class IncompleteDetails(msgspec.Struct):
    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponseFunctionTool(msgspec.Struct, tag_field="type", tag="function"):
    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


class ResponseChosenTool(msgspec.Struct, tag_field="type", tag="function"):
    name: str


class ResponseAllowedTools(msgspec.Struct, tag_field="type", tag="allowed_tools"):
    mode: Literal["auto", "required"]
    tools: list[ResponseChosenTool]


class ResponseTextFormat(msgspec.Struct, tag_field="type", tag="text"):
    pass


class ResponseJsonObjectFormat(msgspec.Struct, tag_field="type", tag="json_object"):
    pass


class ResponseJsonSchemaFormat(msgspec.Struct, tag_field="type", tag="json_schema"):
    name: str
    schema: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": ["object", "boolean"]})]
    description: str | None
    strict: bool


class ResponseTextOptions(msgspec.Struct):
    format: ResponseTextFormat | ResponseJsonObjectFormat | ResponseJsonSchemaFormat


class ResponseReasoningOptions(msgspec.Struct):
    effort: str | None = None
    summary: None = None


class ResponseObject(msgspec.Struct, kw_only=True):
    """An answer. It repeats the settings of the request, or their defaults."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    status: ResponseStatus = "in_progress"
    completed_at: int | None = None
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    model: str
    output: list[ResponseItem] = msgspec.field(default_factory=list)
    usage: ResponseUsage | None = None
    instructions: str | None
    tools: list[ResponseFunctionTool]
    tool_choice: str | ResponseChosenTool | ResponseAllowedTools
    parallel_tool_calls: bool
    max_output_tokens: int | None
    max_tool_calls: int | None
    temperature: float
    top_p: float
    text: ResponseTextOptions
    reasoning: ResponseReasoningOptions
    service_tier: AppliedTier
    metadata: dict[str, Any]
    prompt_cache_key: str | None
    safety_identifier: str | None
    user: str | None
    top_logprobs: int
    truncation: Literal["disabled"] = "disabled"
    background: Literal[False] = False
    store: Literal[False] = False
    previous_response_id: None = None
