"""POST /v1/completions."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from llmcore.messages import GenerateRequest, Priority, TextPrompt, TokensPrompt

from ..answers.completion_form import CompletionForm
from ..answers.field_names import FieldNames
from ..answers.generation import GenerationGroup
from ..answers.json_answer import JsonChoices
from ..answers.sse import StreamedChoices
from ..http.body import read_json
from ..http.ignored_fields import IgnoredFields
from ..http.priority import priority_of_request
from ..http.request_log import RequestLog
from ..schemas.completion_request import LENGTH_FIELDS, MAX_TOKENS_DEFAULT, CompletionRequest, check_completion
from ..schemas.format_fields import constraint_field, constraint_of
from ..schemas.same_fields import first_given
from ..service.service import Service
from ..service.token_estimate import estimate_prompt_tokens


class CompletionsEndpoint:
    """Several prompts give several choices, which are generated together."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(CompletionRequest)

    async def post(self, request: Request) -> Response:
        service, request_log = self._service, RequestLog.from_scope(request.scope)
        service.check_not_draining()
        body = await read_json(request, self._decoder, service.config.max_body_bytes)
        prompts = self._checked_prompts(body, request_log.ignored)
        echoes = await self._echoes(prompts, request_log) if body.echo else []
        answer_id, priority = f"cmpl-{request_log.unique}", priority_of_request(request.headers, body.priority)
        requests = list(self._requests(body, prompts, answer_id, priority))
        names = FieldNames("prompt", constraint_field(body))
        group = GenerationGroup(service, request_log, answer_id, requests, names, body.n_candidates)
        form = CompletionForm(answer_id, service.model_id, body, echoes, service.fingerprint)
        if not body.stream:
            return JsonChoices(group, form)
        return StreamedChoices(group, form, body.wants_usage, body.wants_running_usage)

    def _checked_prompts(self, body: CompletionRequest, ignored: IgnoredFields) -> list[TextPrompt | TokensPrompt]:
        """Raises ApiError (400 or 404)."""
        check_completion(body)
        self._service.check_model(body.model, ignored)
        prompts = body.prompts()
        self._service.limits.check_prompts(prompts, "prompt")
        return prompts

    async def _echoes(self, prompts: Sequence[TextPrompt | TokensPrompt], request_log: RequestLog) -> list[str]:
        """Returns the texts of the prompts. The engine detokenizes token ids, which counts against the key's rate limit."""
        request_log.reserve(sum(map(estimate_prompt_tokens, prompts)))
        engine = self._service.engine
        return [each.text if isinstance(each, TextPrompt) else await engine.detokenize(each.tokens) for each in prompts]

    def _requests(
        self, body: CompletionRequest, prompts: Sequence[TextPrompt | TokensPrompt], answer_id: str, priority: Priority
    ) -> Iterator[GenerateRequest]:
        """Gives the engine's request for each candidate of each prompt."""
        constraint, limits = constraint_of(body), self._service.limits
        length_field = first_given(body, LENGTH_FIELDS) or "max_tokens"
        max_tokens = limits.resolve_max_tokens(getattr(body, length_field), length_field, MAX_TOKENS_DEFAULT)
        # Candidates are compared by the probabilities of their tokens.
        are_compared = body.logprobs is None and body.n_candidates > body.n_choices
        for index, (prompt, choice) in enumerate(itertools.product(prompts, range(body.n_candidates))):
            yield body.to_generate(
                f"{answer_id}-{index}",
                prompt,
                max_tokens=max_tokens,
                constraint=constraint,
                n_logprobs=0 if are_compared else body.logprobs,
                priority=priority,
                timeout_s=limits.resolve_timeout_s(body.timeout),
                choice=choice,
            )
