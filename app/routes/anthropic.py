"""Anthropic's API: POST /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.messages import ChatPrompt, GenerateRequest

from ..answers.anthropic_json import JsonMessage
from ..answers.anthropic_message import AnthropicMessageForm
from ..answers.anthropic_output import AnthropicOutput
from ..answers.anthropic_stream import StreamedMessage
from ..answers.field_names import FieldNames
from ..answers.generation import GenerationGroup
from ..http.body import read_json
from ..http.ignored_fields import IgnoredFields
from ..http.json_response import json_response
from ..http.priority import priority_of_request
from ..http.request_log import RequestLog
from ..schemas.anthropic_reply import CountTokensReply
from ..schemas.anthropic_request import (
    FORMAT_NAMES,
    AnthropicFields,
    AnthropicRequest,
    CountTokensRequest,
    check_anthropic,
)
from ..schemas.format_fields import constraint_field, constraint_of
from ..service.service import Service
from ..service.token_estimate import estimate_prompt_tokens

_OTHER_NAMES = {"stop": "stop_sequences", "reasoning_effort": "output_config.effort"}


class AnthropicEndpoints:
    """Nothing is stored: each request contains the whole conversation."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(AnthropicRequest)
        self._count_decoder = msgspec.json.Decoder(CountTokensRequest)

    async def messages(self, request: Request) -> Response:
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.check_not_draining()
        body = await read_json(request, self._decoder, service.config.max_body_bytes)
        prompt = self._checked_prompt(body, request_log.ignored)
        answer_id = f"msg_{request_log.unique}"
        generate_request = self._generate_request(request, body, prompt, answer_id)
        group = GenerationGroup(service, request_log, answer_id, [generate_request], _field_names(body))
        form = AnthropicMessageForm(answer_id, service.model_id, body.max_tokens, body.stop_strings())
        output = AnthropicOutput(shows_thinking=body.shows_thinking)
        if body.stream:
            return StreamedMessage(group, form, output, request_log)
        return JsonMessage(group, form, output)

    async def count_tokens(self, request: Request) -> Response:
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.check_not_draining()
        body = await read_json(request, self._count_decoder, service.config.max_body_bytes)
        prompt = self._checked_prompt(body, request_log.ignored)
        n_estimated = estimate_prompt_tokens(prompt)
        with request_log.charge(n_estimated):
            tokens = await service.engine.tokenize_chat(prompt)
            request_log.n_text = len(tokens)
        return json_response(CountTokensReply(len(tokens)))

    def _checked_prompt(self, body: AnthropicFields, ignored: IgnoredFields) -> ChatPrompt:
        """Returns the prompt of a request. Raises ApiError (400 or 404)."""
        limits = self._service.limits
        limits.check_count(len(body.messages), "messages")
        check_anthropic(body)
        self._service.check_model(body.model, ignored)
        prompt = body.prompt(self._service.applied_effort(body.effort, "output_config.effort", ignored))
        limits.check_prompts([prompt], "messages")
        return prompt

    def _generate_request(
        self, request: Request, body: AnthropicRequest, prompt: ChatPrompt, answer_id: str
    ) -> GenerateRequest:
        limits = self._service.limits
        return body.to_generate(
            answer_id,
            prompt,
            max_tokens=limits.resolve_max_tokens(body.max_tokens, "max_tokens"),
            constraint=constraint_of(body),
            n_logprobs=None,
            priority=priority_of_request(request.headers, body.priority),
            timeout_s=limits.resolve_timeout_s(body.timeout),
        )


def _field_names(body: AnthropicRequest) -> FieldNames:
    constraint = constraint_field(body, FORMAT_NAMES)
    return FieldNames("messages", constraint, _OTHER_NAMES, has_flat_tools=True, tool_schema="input_schema")
