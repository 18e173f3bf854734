"""POST /v1/responses."""

from __future__ import annotations

import time
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.errors import InvalidRequestError
from llmcore.messages import GenerateRequest, Priority
from llmcore.sampling import SamplingParams

from ..answers.generation import GenerationGroup
from ..answers.responses_output import ResponseOutput
from ..answers.responses_stream import ResponseStream, WholeResponse
from ..http.body import read_body
from ..http.decode import decode
from ..http.priority import priority_of
from ..http.request_log import RequestLog
from ..schemas.format_fields import JsonObjectFormat, constraint_field, constraint_of
from ..schemas.responses import FORMAT_NAMES, ResponseJsonSchema, ResponsesRequest, ResponseToolChoice, check_responses
from ..schemas.responses_replies import (
    ResponseChosenTool,
    ResponseFunctionTool,
    ResponseJsonObjectFormat,
    ResponseJsonSchemaFormat,
    ResponseObject,
    ResponseReasoningOptions,
    ResponseTextFormat,
    ResponseTextOptions,
)
from ..service.engine import GenerationLike
from ..service.service import Service

_TIERS: dict[Priority, Literal["default", "flex", "priority"]] = {
    "low": "flex",
    "normal": "default",
    "high": "priority",
}
# The engine's words for fields that have another name here.
_PARAMS = {"messages": "input", "reasoning_effort": "reasoning.effort", "max_tokens": "max_output_tokens"}


class ResponsesEndpoint:
    """The endpoint. Nothing is stored: a request brings the whole conversation along."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(ResponsesRequest)

    async def post(self, request: Request) -> Response:
        service = self._service
        service.check_not_draining()
        wanted = decode(self._decoder, await read_body(request, service.config.max_body_bytes))
        if isinstance(wanted.input, list):
            service.limits.check_count(len(wanted.input), "input")
        check_responses(wanted)
        service.check_model(wanted.model)
        request_log = RequestLog.from_scope(request.scope)
        priority = priority_of(request.headers, wanted.asked_priority)
        begun = _begun(wanted, f"resp_{request_log.unique}", service.model_id, priority)
        generation = self._generate(wanted, begun.id, priority)
        service.limits.check_prompts([generation.prompt], "input")
        constrained = constraint_field(wanted, FORMAT_NAMES)
        work = ResponseWork(service, request_log, begun.id, [generation], "input", constraint_param=constrained)
        output = ResponseOutput(request_log.unique)
        return ResponseStream(work, begun, output) if wanted.stream else WholeResponse(work, begun, output)

    def _generate(self, wanted: ResponsesRequest, answer_id: str, priority: Priority) -> GenerateRequest:
        bounds = self._service.limits
        return wanted.to_generate(
            answer_id,
            wanted.prompt_to_render(),
            max_tokens=bounds.resolve_max_tokens(wanted.max_output_tokens, "max_output_tokens"),
            constraint=constraint_of(wanted),
            n_logprobs=wanted.n_logprobs,
            priority=priority,
            timeout_s=bounds.resolve_timeout_s(wanted.timeout),
        )


class ResponseWork(GenerationGroup):
    """What the engine refuses is told by the fields' names in this API."""

    async def _admit(self) -> list[GenerationLike]:
        try:
            return await super()._admit()
        except InvalidRequestError as error:
            told = error.param or ""
            param = _PARAMS.get(told, told)
            if param.startswith("tools["):
                param = param.replace("].function.", "].", 1)
            if told and error.message.startswith(f"{told}:"):
                error.message = param + error.message.removeprefix(told)
            error.param = param or None
            raise


def _begun(wanted: ResponsesRequest, id: str, model: str, priority: Priority) -> ResponseObject:
    """The response before its answer."""
    defaults = SamplingParams()
    choice = wanted.tool_choice
    return ResponseObject(
        id=id,
        created_at=int(time.time()),
        model=model,
        instructions=wanted.instructions,
        tools=[
            ResponseFunctionTool(tool.name, tool.description, tool.parameters, tool.strict)
            for tool in wanted.tools or ()
        ],
        tool_choice=ResponseChosenTool(choice.name) if isinstance(choice, ResponseToolChoice) else choice or "auto",
        parallel_tool_calls=wanted.parallel_tool_calls is not False,
        max_output_tokens=wanted.max_output_tokens,
        max_tool_calls=wanted.max_tool_calls,
        temperature=defaults.temperature if wanted.temperature is None else wanted.temperature,
        top_p=defaults.top_p if wanted.top_p is None else wanted.top_p,
        text=ResponseTextOptions(_told_format(wanted)),
        reasoning=ResponseReasoningOptions(wanted.effort),
        service_tier=_TIERS[priority],
        metadata=wanted.metadata or {},
        prompt_cache_key=wanted.prompt_cache_key,
        safety_identifier=wanted.safety_identifier,
        user=wanted.user,
        top_logprobs=wanted.top_logprobs or 0,
    )


def _told_format(wanted: ResponsesRequest) -> ResponseTextFormat | ResponseJsonObjectFormat | ResponseJsonSchemaFormat:
    given = None if wanted.text is None else wanted.text.format
    if isinstance(given, ResponseJsonSchema):
        # Without the line breaks that it may have, which would end an event; its numbers stay as they were written.
        schema = msgspec.Raw(msgspec.json.format(bytes(given.schema), indent=-1))
        return ResponseJsonSchemaFormat(given.name, schema, given.description, bool(given.strict))
    return ResponseJsonObjectFormat() if isinstance(given, JsonObjectFormat) else ResponseTextFormat()
