"""POST /v1/chat/completions."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.messages import GenerateRequest, Priority

from ..answers.chat_form import ChatForm
from ..answers.field_names import FieldNames
from ..answers.generation import GenerationGroup
from ..answers.json_answer import JsonChoices
from ..answers.sse import StreamedChoices
from ..http.body import read_json
from ..http.ignored_fields import IgnoredFields
from ..http.priority import priority_of_request
from ..http.request_log import RequestLog
from ..schemas.chat_request import LENGTH_FIELDS, ChatRequest, check_chat
from ..schemas.format_fields import constraint_field, constraint_of
from ..schemas.same_fields import first_given
from ..service.service import Service


class ChatEndpoint:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(ChatRequest)

    async def post(self, request: Request) -> Response:
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.check_not_draining()
        body = await read_json(request, self._decoder, service.config.max_body_bytes)
        self._check(body, request_log.ignored)
        answer_id, wants_usage = f"chatcmpl-{request_log.unique}", body.wants_usage
        requests = list(self._requests(body, answer_id, priority_of_request(request.headers, body.requested_priority)))
        service.limits.check_prompts([requests[0].prompt], "messages")
        names = FieldNames("messages", constraint_field(body))
        group = GenerationGroup(service, request_log, answer_id, requests, names, body.n_choices)
        form = ChatForm(
            answer_id,
            service.model_id,
            wants_usage=wants_usage,
            wants_logprobs=bool(body.logprobs),
            fingerprint=service.fingerprint,
        )
        if not body.stream:
            return JsonChoices(group, form)
        return StreamedChoices(group, form, wants_usage, body.wants_running_usage)

    def _check(self, body: ChatRequest, ignored: IgnoredFields) -> None:
        """Raises ApiError (400 or 404)."""
        self._service.limits.check_count(len(body.messages), "messages")
        check_chat(body)
        self._service.check_model(body.model, ignored)
        body.reasoning_effort = self._service.applied_effort(body.reasoning_effort, "reasoning_effort", ignored)

    def _requests(self, body: ChatRequest, answer_id: str, priority: Priority) -> Iterator[GenerateRequest]:
        """Gives the engine's request for each of the n choices."""
        prompt, constraint, limits = body.prompt(), constraint_of(body), self._service.limits
        length_field = first_given(body, LENGTH_FIELDS) or "max_completion_tokens"
        max_tokens = limits.resolve_max_tokens(getattr(body, length_field), length_field)
        for choice in range(body.n_choices):
            yield body.to_generate(
                f"{answer_id}-{choice}" if choice else answer_id,
                prompt,
                max_tokens=max_tokens,
                constraint=constraint,
                n_logprobs=body.n_logprobs,
                priority=priority,
                timeout_s=limits.resolve_timeout_s(body.timeout),
                choice=choice,
                prediction=body.predicted_text,
            )
