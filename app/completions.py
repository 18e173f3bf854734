"""POST /v1/completions."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from llmcore.messages import Finished, GenerateRequest, Piece, Priority, TextPrompt, TokensPrompt

from . import record
from .answer import Choice
from .body import read_body
from .completion_schema import MAX_TOKENS_DEFAULT, CompletionRequest, check_completion
from .decode import decode
from .format_fields import constraint_field, constraint_of
from .logprobs import TextLogprobs, TextOffsets
from .priority import priority_of
from .replies import AnswerEnd, TextChoice, TextCompletion, TokenUsage
from .service import Service
from .sse import EventStream
from .whole import WholeAnswer
from .work import Work


class Completions:
    """The endpoint. Several prompts give several choices, which run side by side."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(CompletionRequest)

    async def post(self, request: Request) -> Response:
        service = self._service
        service.check_open()
        wanted = decode(self._decoder, await read_body(request, service.config.max_body_bytes))
        check_completion(wanted)
        service.check_model(wanted.model)
        prompts = wanted.prompts()
        entry = record.of(request.scope)
        form = CompletionForm(
            f"cmpl-{entry.unique}", int(time.time()), service.model_id, wanted.wants_usage, wanted.logprobs is not None
        )
        priority = priority_of(request.headers, wanted.priority)
        choices = enumerate(itertools.product(prompts, range(wanted.n_choices)))
        requests = [
            _generate(wanted, prompt, f"{form.id}-{index}", priority, choice) for index, (prompt, choice) in choices
        ]
        work = Work(service, entry, form.id, requests, "prompt", wanted.n_choices, constraint_field(wanted))
        return EventStream(work, form, wanted.wants_usage) if wanted.stream else WholeAnswer(work, form)


def _generate(
    wanted: CompletionRequest, prompt: TextPrompt | TokensPrompt, request_id: str, priority: Priority, choice: int
) -> GenerateRequest:
    return GenerateRequest(
        request_id=request_id,
        prompt=prompt,
        sampling=wanted.sampling(choice),
        max_tokens=MAX_TOKENS_DEFAULT if wanted.max_tokens is None else wanted.max_tokens,
        stop=wanted.stops(),
        ignore_eos=bool(wanted.ignore_eos),
        constraint=constraint_of(wanted),
        n_logprobs=wanted.logprobs,
        priority=priority,
        timeout_s=wanted.timeout,
    )


class CompletionForm:
    """See answer.AnswerForm."""

    def __init__(self, id: str, created: int, model: str, wants_usage: bool, wants_logprobs: bool = False) -> None:
        self.id = id
        self._created = created
        self._model = model
        self._wants_logprobs = wants_logprobs
        self._offsets: defaultdict[int, TextOffsets] = defaultdict(TextOffsets)  # of each choice
        self._no_usage: UnsetType | None = None if wants_usage else UNSET

    def _chunk(self, choices: list[TextChoice], usage: TokenUsage | UnsetType | None) -> TextCompletion:
        return TextCompletion(self.id, self._created, self._model, choices, usage=usage)

    def first(self, index: int) -> None:
        return None

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

    def whole(self, choices: Sequence[Choice], usage: TokenUsage) -> TextCompletion:
        found = [
            TextChoice(index, each.text, each.finish_reason, self._logprobs(each)) for index, each in enumerate(choices)
        ]
        return self._chunk(found, usage)

    def _logprobs(self, choice: Choice) -> TextLogprobs | None:
        return TextOffsets().logprobs(choice.logprobs) if self._wants_logprobs else None
