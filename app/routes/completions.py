"""POST /v1/completions."""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from llmcore.messages import Finished, GenerateRequest, Piece, Priority, TextPrompt, TokensPrompt

from ..answers.answer import AnswerChoice
from ..answers.generation import GenerationGroup
from ..answers.json_answer import JsonChoices
from ..answers.logprobs import TextOffsets
from ..answers.sse import EventStream
from ..http.body import read_body
from ..http.decode import decode
from ..http.priority import priority_of
from ..http.request_log import RequestLog
from ..schemas.completion import MAX_TOKENS_DEFAULT, CompletionRequest, check_completion
from ..schemas.format_fields import constraint_field, constraint_of
from ..schemas.logprobs import TextLogprobs
from ..schemas.replies import AnswerEnd, TextChoice, TextCompletion, TokenUsage
from ..service.request_limits import RequestLimits
from ..service.service import Service
from ..service.token_estimate import estimate_prompt_tokens


class CompletionsEndpoint:
    """The endpoint. Several prompts give several choices, which run side by side."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(CompletionRequest)

    async def post(self, request: Request) -> Response:
        service = self._service
        service.check_not_draining()
        wanted = decode(self._decoder, await read_body(request, service.config.max_body_bytes))
        check_completion(wanted)
        service.check_model(wanted.model)
        prompts = wanted.prompts()
        service.limits.check_prompts(prompts, "prompt")
        request_log = RequestLog.from_scope(request.scope)
        if wanted.echo:  # their text is the engine's work, and comes first
            request_log.reserve(sum(map(estimate_prompt_tokens, prompts)))
        echoes = [await self._text(prompt) for prompt in prompts] if wanted.echo else []
        form = CompletionForm(f"cmpl-{request_log.unique}", int(time.time()), service.model_id, wanted, echoes)
        priority = priority_of(request.headers, wanted.priority)
        choices = enumerate(itertools.product(prompts, range(wanted.n_candidates)))
        requests = [
            _generate(wanted, prompt, f"{form.id}-{index}", priority, choice, service.limits)
            for index, (prompt, choice) in choices
        ]
        work = GenerationGroup(
            service, request_log, form.id, requests, "prompt", wanted.n_candidates, constraint_field(wanted)
        )
        return EventStream(work, form, wanted.wants_usage) if wanted.stream else JsonChoices(work, form)

    async def _text(self, prompt: TextPrompt | TokensPrompt) -> str:
        return prompt.text if isinstance(prompt, TextPrompt) else await self._service.engine.detokenize(prompt.tokens)


def _generate(
    wanted: CompletionRequest,
    prompt: TextPrompt | TokensPrompt,
    request_id: str,
    priority: Priority,
    choice: int,
    bounds: RequestLimits,
) -> GenerateRequest:
    # Which of several answers is the best is told by their tokens' probabilities.
    is_compared = wanted.logprobs is None and wanted.n_candidates > wanted.n_choices
    return wanted.to_generate(
        request_id,
        prompt,
        max_tokens=bounds.resolve_max_tokens(wanted.max_tokens, "max_tokens", MAX_TOKENS_DEFAULT),
        constraint=constraint_of(wanted),
        n_logprobs=0 if is_compared else wanted.logprobs,
        priority=priority,
        timeout_s=bounds.resolve_timeout_s(wanted.timeout),
        choice=choice,
    )


class CompletionForm:
    """See answer.AnswerForm."""

    def __init__(
        self, id: str, created: int, model: str, wanted: CompletionRequest, echoes: Sequence[str] = ()
    ) -> None:
        """`echoes`: each prompt's text, if the answers are to begin with it."""
        self.id = id
        self._created = created
        self._model = model
        self._wanted = wanted
        self._echoes = echoes
        self._offsets: defaultdict[int, TextOffsets] = defaultdict(TextOffsets)  # of each choice
        self._no_usage: UnsetType | None = None if wanted.wants_usage else UNSET

    def _chunk(self, choices: list[TextChoice], usage: TokenUsage | UnsetType | None) -> TextCompletion:
        return TextCompletion(self.id, self._created, self._model, choices, usage=usage)

    def first(self, index: int) -> TextCompletion | None:
        return self.text(index, self._echo(index)) if self._echoes else None

    def _echo(self, index: int) -> str:
        return self._echoes[index // self._wanted.n_choices] if self._echoes else ""

    def text(self, index: int, text: str) -> TextCompletion:
        return self._chunk([TextChoice(index, text)], self._no_usage)

    def parts(self, index: int, output: Piece | Finished) -> Iterator[TextCompletion]:
        logprobs = self._offsets[index].logprobs(output.logprobs) if output.logprobs else None
        if output.text or logprobs is not None:
            yield self._chunk([TextChoice(index, output.text, logprobs=logprobs)], self._no_usage)

    def end(self, index: int, reason: AnswerEnd) -> TextCompletion:
        return self._chunk([TextChoice(index, "", reason)], self._no_usage)

    def usage(self, usage: TokenUsage) -> TextCompletion:
        return self._chunk([], usage)

    def whole(self, choices: Sequence[AnswerChoice], usage: TokenUsage) -> TextCompletion:
        found = [
            TextChoice(index, self._echo(index) + each.text, each.finish_reason, self._logprobs(each))
            for index, each in enumerate(self._best(choices))
        ]
        return self._chunk(found, usage)

    def _best(self, choices: Sequence[AnswerChoice]) -> Iterator[AnswerChoice]:
        """Of the candidates for each prompt, the n that the model finds most probable per token."""
        n_candidates, n = self._wanted.n_candidates, self._wanted.n_choices
        if n_candidates == n:
            yield from choices
            return
        for start in range(0, len(choices), n_candidates):
            group = choices[start : start + n_candidates]
            yield from sorted(group, key=_mean_logprob, reverse=True)[:n]

    def _logprobs(self, choice: AnswerChoice) -> TextLogprobs | None:
        return TextOffsets().logprobs(choice.logprobs) if self._wanted.logprobs is not None else None


def _mean_logprob(choice: AnswerChoice) -> float:
    return statistics.fmean(each.logprob for each in choice.logprobs) if choice.logprobs else 0.0
