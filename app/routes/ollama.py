"""POST /api/chat and /api/generate: Ollama's API, translated to what /v1/chat/completions does."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.messages import GenerateRequest, Priority, Prompt

from ..answers.field_names import FieldNames
from ..answers.generation import GenerationGroup
from ..answers.ollama_answer import JsonOllamaAnswer, StreamedOllamaAnswer
from ..answers.ollama_form import OllamaChatForm, OllamaForm, OllamaGenerateForm
from ..http.body import read_json
from ..http.errors import unavailable
from ..http.json_response import json_response
from ..http.priority import priority_of_request
from ..http.request_log import RequestLog
from ..schemas.generation_fields import GenerationFields
from ..schemas.ollama_request import OllamaChatRequest, OllamaFields, OllamaGenerateRequest, check_ollama
from ..service.service import Service
from .ollama_names import resolve_model

_LENGTH_FIELD = "options.num_predict"
# The engine's parameters that have other names in this API.
_OTHER_NAMES = {name: f"options.{name}" for name in GenerationFields.__struct_fields__} | {
    "max_tokens": _LENGTH_FIELD,
    "reasoning_effort": "think",
}


class OllamaEndpoints:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._chat_decoder = msgspec.json.Decoder(OllamaChatRequest)
        self._generate_decoder = msgspec.json.Decoder(OllamaGenerateRequest)

    async def chat(self, request: Request) -> Response:
        self._service.check_not_draining()
        body = await read_json(request, self._chat_decoder, self._service.config.max_body_bytes)
        self._service.limits.check_count(len(body.messages or ()), "messages")
        request_log = RequestLog.from_scope(request.scope)
        form = OllamaChatForm(self._checked_model(body, request_log), request_log.started_s)
        if body.only_loads:
            return self._load(form)
        effort = self._service.applied_effort(body.reasoning_effort, "think", request_log.ignored)
        return self._answer(request, body, body.engine_prompt(effort), form, "messages")

    async def generate(self, request: Request) -> Response:
        self._service.check_not_draining()
        body = await read_json(request, self._generate_decoder, self._service.config.max_body_bytes)
        request_log = RequestLog.from_scope(request.scope)
        form = OllamaGenerateForm(self._checked_model(body, request_log), request_log.started_s)
        if body.only_loads:
            return self._load(form)
        effort = self._service.applied_effort(body.reasoning_effort, "think", request_log.ignored)
        if body.without_template and body.think is not None:
            request_log.ignored.add("think", "hint")
        return self._answer(request, body, body.engine_prompt(effort), form, "prompt")

    def _checked_model(self, body: OllamaFields, request_log: RequestLog) -> str:
        """Returns the model's name for the reply. Raises ApiError (400 or 404)."""
        check_ollama(body)
        return resolve_model(self._service, body.model, request_log.ignored)

    def _load(self, form: OllamaForm) -> Response:
        """Answers a request without a prompt. Raises ApiError (503) if the model is not loaded yet."""
        if self._service.unready_reason:
            raise unavailable(f"The engine is {self._service.unready_reason}.")
        return json_response(form.load())

    def _answer(
        self, request: Request, body: OllamaFields, prompt: Prompt, form: OllamaForm, prompt_field: str
    ) -> Response:
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.limits.check_prompts([prompt], prompt_field)
        answer_id, priority = f"ollama-{request_log.unique}", priority_of_request(request.headers, body.priority)
        generate_request = self._request(body, prompt, answer_id, priority)
        names = FieldNames(prompt_field, "format", _OTHER_NAMES)
        group = GenerationGroup(service, request_log, answer_id, [generate_request], names)
        return StreamedOllamaAnswer(group, form) if body.is_streamed else JsonOllamaAnswer(group, form)

    def _request(self, body: OllamaFields, prompt: Prompt, answer_id: str, priority: Priority) -> GenerateRequest:
        options, limits = body.given_options, self._service.limits
        return options.generation_fields().to_generate(
            answer_id,
            prompt,
            max_tokens=limits.resolve_max_tokens(options.max_tokens, _LENGTH_FIELD),
            constraint=body.constraint(),
            n_logprobs=body.n_logprobs,
            priority=priority,
            timeout_s=limits.resolve_timeout_s(None),
        )
