"""The Response object of /v1/responses: before its answer, complete, and failed."""

from __future__ import annotations

import time

import msgspec
from msgspec import UNSET, structs

from llmcore.messages import Finished, Priority
from llmcore.sampling import SamplingParams

from ..http.errors import ApiError
from ..http.priority import tier_of_priority
from ..schemas.format_fields import JsonObjectFormat
from ..schemas.responses_input import Status
from ..schemas.responses_reply import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    ResponseAllowedTools,
    ResponseChosenTool,
    ResponseError,
    ResponseFunctionTool,
    ResponseJsonObjectFormat,
    ResponseJsonSchemaFormat,
    ResponseObject,
    ResponseReasoningOptions,
    ResponseTextFormat,
    ResponseTextOptions,
    ResponseUsage,
)
from ..schemas.responses_request import FlatAllowedToolChoice, FlatJsonSchemaFormat, FlatToolChoice, ResponsesRequest
from .responses_output import ResponseOutput
from .usage import total_usage


def begin_response(body: ResponsesRequest, id: str, model: str, priority: Priority) -> ResponseObject:
    """Returns the response before its answer, with the settings of the request or their defaults."""
    defaults = SamplingParams()
    return ResponseObject(
        id=id,
        created_at=int(time.time()),
        model=model,
        instructions=body.instructions,
        tools=[
            ResponseFunctionTool(tool.name, tool.description, tool.parameters, tool.strict) for tool in body.tools or ()
        ],
        tool_choice=_tool_choice(body),
        parallel_tool_calls=body.parallel_tool_calls is not False,
        max_output_tokens=body.max_output_tokens,
        max_tool_calls=body.max_tool_calls,
        temperature=defaults.temperature if body.temperature is None else body.temperature,
        top_p=defaults.top_p if body.top_p is None else body.top_p,
        text=ResponseTextOptions(_text_format(body)),
        reasoning=ResponseReasoningOptions(body.effort),
        service_tier=tier_of_priority(priority),
        metadata=body.metadata or {},
        prompt_cache_key=body.prompt_cache_key,
        safety_identifier=body.safety_identifier,
        user=body.user,
        top_logprobs=body.top_logprobs or 0,
    )


def _tool_choice(body: ResponsesRequest) -> str | ResponseChosenTool | ResponseAllowedTools:
    choice = body.tool_choice
    if isinstance(choice, FlatToolChoice):
        return ResponseChosenTool(choice.name)
    if isinstance(choice, FlatAllowedToolChoice):
        return ResponseAllowedTools(choice.mode, [ResponseChosenTool(tool.name) for tool in choice.tools])
    return choice or "auto"


def _text_format(body: ResponsesRequest) -> ResponseTextFormat | ResponseJsonObjectFormat | ResponseJsonSchemaFormat:
    given = None if body.text is None else body.text.format
    if isinstance(given, FlatJsonSchemaFormat):
        # Line breaks would end the event that contains the schema. Its numbers stay as they were written.
        schema = msgspec.Raw(msgspec.json.format(bytes(given.schema), indent=-1))
        return ResponseJsonSchemaFormat(given.name, schema, given.description, bool(given.strict))
    return ResponseJsonObjectFormat() if isinstance(given, JsonObjectFormat) else ResponseTextFormat()


def complete_response(begun: ResponseObject, output: ResponseOutput, finished: Finished) -> ResponseObject:
    """Returns the response with its answer."""
    status = status_of(finished)
    return structs.replace(
        begun,
        status=status,
        completed_at=int(time.time()) if status == "completed" else None,
        incomplete_details=None if status == "completed" else IncompleteDetails(),
        output=output.items(status),
        usage=_usage(finished),
    )


def fail_response(begun: ResponseObject, output: ResponseOutput, failure: ApiError) -> ResponseObject:
    """Returns the response with the part of the answer that was generated before an error."""
    error = ResponseError(failure.message)
    return structs.replace(begun, status="failed", error=error, output=output.items("incomplete"))


def status_of(finished: Finished) -> Status:
    assert finished.reason in ("stop", "length"), "GenerationGroup raises for answers that were broken off"
    return "completed" if finished.reason == "stop" else "incomplete"


def _usage(finished: Finished) -> ResponseUsage:
    usage = total_usage([finished.usage])
    assert usage.prompt_tokens_details is not UNSET, "the usage of a whole answer"
    assert usage.completion_tokens_details is not UNSET
    assert usage.timings is not UNSET
    return ResponseUsage(
        usage.prompt_tokens,
        InputTokensDetails(usage.prompt_tokens_details.cached_tokens),
        usage.completion_tokens,
        OutputTokensDetails(usage.completion_tokens_details.reasoning_tokens),
        usage.total_tokens,
        usage.timings,
    )
