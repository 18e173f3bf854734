"""Replies of /v1/chat/completions, made from the engine's outputs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from msgspec import UNSET, UnsetType

from llmcore.messages import CallDelta, Finished, Piece

from ..schemas.chat_reply import (
    AnswerCall,
    AnswerMessage,
    CallArguments,
    ChatChoice,
    ChatChunk,
    ChatCompletion,
    ChoiceDelta,
    ChoiceFinishReason,
    ChunkCall,
    ChunkChoice,
    ChunkFunction,
)
from ..schemas.logprobs import ChatLogprobs
from ..schemas.usage import TokenUsage
from .answer import AnswerChoice
from .logprobs import chat_logprobs, prompt_logprobs


class ChatForm:
    """See answer.AnswerForm."""

    def __init__(
        self, id: str, model: str, *, wants_usage: bool, wants_logprobs: bool = False, fingerprint: str = ""
    ) -> None:
        self.id = id
        self._created = int(time.time())
        self._model = model
        self._fingerprint = fingerprint or UNSET
        self._wants_logprobs = wants_logprobs
        # If the client asked for usage, OpenAI's chunks before the last one have a null `usage`.
        self._no_usage: UnsetType | None = None if wants_usage else UNSET

    def _chunk(self, choices: list[ChunkChoice], usage: TokenUsage | UnsetType | None) -> ChatChunk:
        return ChatChunk(
            self.id, self._created, self._model, choices, usage=usage, system_fingerprint=self._fingerprint
        )

    def first_chunk(self, index: int) -> ChatChunk:
        return self._chunk([ChunkChoice(index, ChoiceDelta(role="assistant", content=""))], self._no_usage)

    def text_chunk(self, index: int, text: str) -> ChatChunk:
        return self._chunk([ChunkChoice(index, ChoiceDelta(content=text))], self._no_usage)

    def chunks(self, index: int, output: Piece | Finished) -> Iterator[ChatChunk]:
        deltas = [ChoiceDelta(reasoning_content=output.reasoning)] if output.reasoning else []
        deltas += [ChoiceDelta(content=output.text)] if output.text else []
        deltas += [ChoiceDelta(tool_calls=[_chunk_call(call)]) for call in output.calls]
        logprobs = chat_logprobs(output.logprobs) if output.logprobs else None
        if logprobs is not None and not deltas:  # of tokens whose text comes later, or never
            deltas = [ChoiceDelta(content="")]
        for delta in deltas:
            yield self._chunk([ChunkChoice(index, delta, logprobs=logprobs)], self._no_usage)
            logprobs = None

    def end_chunk(self, index: int, reason: ChoiceFinishReason) -> ChatChunk:
        return self._chunk([ChunkChoice(index, ChoiceDelta(), reason)], self._no_usage)

    def usage_chunk(self, usage: TokenUsage) -> ChatChunk:
        return self._chunk([], usage)

    def reply(self, choices: Sequence[AnswerChoice], usage: TokenUsage) -> ChatCompletion:
        found = [
            ChatChoice(index, _message(each), each.finish_reason, self._logprobs(each))
            for index, each in enumerate(choices)
        ]
        of_prompt = choices[0].prompt_logprobs
        return ChatCompletion(
            self.id,
            self._created,
            self._model,
            found,
            usage,
            system_fingerprint=self._fingerprint,
            prompt_logprobs=prompt_logprobs(of_prompt) if of_prompt else UNSET,
        )

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
