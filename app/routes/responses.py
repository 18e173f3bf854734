"""POST /v1/responses."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.messages import GenerateRequest, Priority

from ..answers.field_names import FieldNames
from ..answers.generation import GenerationGroup
from ..answers.response_object import begin_response
from ..answers.responses_json import JsonResponseObject
from ..answers.responses_output import ResponseOutput
from ..answers.responses_stream import StreamedResponseObject
from ..http.body import read_json
from ..http.ignored_fields import IgnoredFields
from ..http.priority import priority_of_request
from ..http.request_log import RequestLog
from ..schemas.format_fields import constraint_field, constraint_of
from ..schemas.responses_request import FORMAT_NAMES, ResponsesRequest, check_responses
from ..service.service import Service

_OTHER_NAMES = {"messages": "input", "reasoning_effort": "reasoning.effort", "max_tokens": "max_output_tokens"}


class ResponsesEndpoint:
    """Nothing is stored: each request contains the whole conversation."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(ResponsesRequest)

    async def post(self, request: Request) -> Response:
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.check_not_draining()
        body = await read_json(request, self._decoder, service.config.max_body_bytes)
        self._check(body, request_log.ignored)
        priority = priority_of_request(request.headers, body.requested_priority)
        begun = begin_response(body, f"resp_{request_log.unique}", service.model_id, priority)
        generate_request = self._request(body, begun.id, priority, request_log.ignored)
        service.limits.check_prompts([generate_request.prompt], "input")
        names = FieldNames("input", constraint_field(body, FORMAT_NAMES), _OTHER_NAMES, has_flat_tools=True)
        group = GenerationGroup(service, request_log, begun.id, [generate_request], names)
        output = ResponseOutput(request_log.unique)
        answer = StreamedResponseObject if body.stream else JsonResponseObject
        return answer(group, begun, output)

    def _check(self, body: ResponsesRequest, ignored: IgnoredFields) -> None:
        """Raises ApiError (400 or 404)."""
        if isinstance(body.input, list):
            self._service.limits.check_count(len(body.input), "input")
        check_responses(body)
        self._service.check_model(body.model, ignored)
        if body.reasoning is not None:
            reasoning = body.reasoning
            reasoning.effort = self._service.applied_effort(reasoning.effort, "reasoning.effort", ignored)

    def _request(
        self, body: ResponsesRequest, answer_id: str, priority: Priority, ignored: IgnoredFields
    ) -> GenerateRequest:
        limits = self._service.limits
        return body.to_generate(
            answer_id,
            body.chat_prompt(ignored),
            max_tokens=limits.resolve_max_tokens(body.max_output_tokens, "max_output_tokens"),
            constraint=constraint_of(body),
            n_logprobs=body.n_logprobs,
            priority=priority,
            timeout_s=limits.resolve_timeout_s(body.timeout),
        )
