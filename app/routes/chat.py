"""POST /v1/chat/completions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from llmcore.messages import CallDelta, Finished, GenerateRequest, Piece, Priority

from ..answers.answer import AnswerChoice
from ..answers.generation import GenerationGroup
from ..answers.json_answer import JsonChoices
from ..answers.logprobs import chat_logprobs
from ..answers.sse import EventStream
from ..http import request_log as record
from ..http.body import read_body
from ..http.decode import decode
from ..http.priority import priority_of
from ..schemas.chat import ChatRequest, check_chat
from ..schemas.format_fields import constraint_field, constraint_of
from ..schemas.logprobs import ChatLogprobs
from ..schemas.replies import (
    AnswerCall,
    AnswerEnd,
    AnswerMessage,
    CallArguments,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChoiceDelta,
    ChunkCall,
    ChunkChoice,
    ChunkFunction,
    TokenUsage,
)
from ..service.service import Service


class ChatEndpoint:
    """The endpoint."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(ChatRequest)

    async def post(self, request: Request) -> Response:
        service = self._service
        service.check_open()
        wanted = decode(self._decoder, await read_body(request, service.config.max_body_bytes))
        service.bounds.check_count(len(wanted.messages), "messages")
        check_chat(wanted)
        service.check_model(wanted.model)
        entry = record.of(request.scope)
        form = ChatForm(
            f"chatcmpl-{entry.unique}", int(time.time()), service.model_id, wanted.wants_usage, bool(wanted.logprobs)
        )
        priority = priority_of(request.headers, wanted.asked_priority)
        requests = list(self._generate(wanted, form.id, priority))
        service.bounds.check_prompts([requests[0].prompt], "messages")
        work = GenerationGroup(
            service, entry, form.id, requests, "messages", wanted.n_choices, constraint_field(wanted)
        )
        return EventStream(work, form, wanted.wants_usage) if wanted.stream else JsonChoices(work, form)

    def _generate(self, wanted: ChatRequest, answer_id: str, priority: Priority) -> Iterator[GenerateRequest]:
        prompt, constraint, bounds = wanted.prompt(), constraint_of(wanted), self._service.bounds
        asked = "max_tokens" if wanted.max_completion_tokens is None else "max_completion_tokens"
        for choice in range(wanted.n_choices):
            yield wanted.to_generate(
                f"{answer_id}-{choice}" if choice else answer_id,
                prompt,
                max_tokens=bounds.answer_tokens(wanted.answer_tokens(), asked),
                constraint=constraint,
                n_logprobs=wanted.n_logprobs,
                priority=priority,
                timeout_s=bounds.timeout_s(wanted.timeout),
                choice=choice,
            )


class ChatForm:
    """See answer.AnswerForm."""

    def __init__(self, id: str, created: int, model: str, wants_usage: bool, wants_logprobs: bool = False) -> None:
        self.id = id
        self._created = created
        self._model = model
        self._wants_logprobs = wants_logprobs
        # Where usage was asked for, OpenAI's chunks carry a null one until the last.
        self._no_usage: UnsetType | None = None if wants_usage else UNSET

    def _chunk(self, choices: list[ChunkChoice], usage: TokenUsage | UnsetType | None) -> ChatChunk:
        return ChatChunk(self.id, self._created, self._model, choices, usage=usage)

    def first(self, index: int) -> ChatChunk:
        return self._chunk([ChunkChoice(index, ChoiceDelta(role="assistant", content=""))], self._no_usage)

    def text(self, index: int, text: str) -> ChatChunk:
        return self._chunk([ChunkChoice(index, ChoiceDelta(content=text))], self._no_usage)

    def parts(self, index: int, output: Piece | Finished) -> Iterator[ChatChunk]:
        deltas = [ChoiceDelta(reasoning_content=output.reasoning)] if output.reasoning else []
        deltas += [ChoiceDelta(content=output.text)] if output.text else []
        deltas += [ChoiceDelta(tool_calls=[_chunk_call(call)]) for call in output.calls]
        logprobs = chat_logprobs(output.logprobs) if output.logprobs else None
        if logprobs is not None and not deltas:  # of tokens whose text is not told yet, or never
            deltas = [ChoiceDelta(content="")]
        for delta in deltas:
            yield self._chunk([ChunkChoice(index, delta, logprobs=logprobs)], self._no_usage)
            logprobs = None

    def end(self, index: int, reason: AnswerEnd) -> ChatChunk:
        return self._chunk([ChunkChoice(index, ChoiceDelta(), reason)], self._no_usage)

    def usage(self, usage: TokenUsage) -> ChatChunk:
        return self._chunk([], usage)

    def whole(self, choices: Sequence[AnswerChoice], usage: TokenUsage) -> ChatCompletion:
        found = [
            ChatChoice(index, _message(each), each.finish_reason, self._logprobs(each))
            for index, each in enumerate(choices)
        ]
        return ChatCompletion(self.id, self._created, self._model, found, usage)

    def _logprobs(self, choice: AnswerChoice) -> ChatLogprobs | None:
        return chat_logprobs(choice.logprobs) if self._wants_logprobs else None


def _chunk_call(call: CallDelta) -> ChunkCall:
    if call.name:
        return ChunkCall(call.index, ChunkFunction(name=call.name), id=call.id, type="function")
    return ChunkCall(call.index, ChunkFunction(arguments=call.arguments))


def _message(choice: AnswerChoice) -> AnswerMessage:
    calls = [AnswerCall(call.id, CallArguments(call.name, call.arguments)) for call in choice.tool_calls]
    return AnswerMessage(
        choice.text if choice.text or not calls else None,
        reasoning_content=choice.reasoning or UNSET,
        tool_calls=calls or UNSET,
    )
