"""Log-probabilities of an answer's tokens, in the shapes of OpenAI's endpoints."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from llmcore.messages import TokenLogprob, TopLogprob

from ..schemas.logprobs import (
    AnswerLogprob,
    AnswerTopLogprob,
    ChatLogprobs,
    EventLogprob,
    EventTopLogprob,
    TextLogprobs,
)

# OpenAI's number for what is next to impossible. JSON has none for what is impossible.
LEAST = -9999.0


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> ChatLogprobs:
    return ChatLogprobs(answer_logprobs(tokens))


def answer_logprobs(tokens: Sequence[TokenLogprob]) -> list[AnswerLogprob]:
    return [_of_answer(each) for each in tokens]


def event_logprobs(tokens: Sequence[AnswerLogprob]) -> tuple[EventLogprob, ...]:
    return tuple(_of_event(each) for each in tokens)


def _of_answer(token: TokenLogprob) -> AnswerLogprob:
    top = [AnswerTopLogprob(_shown(each.data), _bounded(each.logprob), list(each.data)) for each in token.top]
    return AnswerLogprob(_shown(token.data), _bounded(token.logprob), list(token.data), top)


def _of_event(token: AnswerLogprob) -> EventLogprob:
    top = [EventTopLogprob(each.token, each.logprob) for each in token.top_logprobs]
    return EventLogprob(token.token, token.logprob, top)


class TextOffsets:
    """Makes the shape of one completion, chunk by chunk: offsets count characters from its beginning."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._n_characters = 0

    def logprobs(self, tokens: Sequence[TokenLogprob]) -> TextLogprobs:
        offsets = []
        for token in tokens:
            offsets.append(self._n_characters)
            self._n_characters += len(self._decoder.decode(token.data))
        return TextLogprobs(
            [_named(each.data) for each in tokens],
            [_bounded(each.logprob) for each in tokens],
            [_top(each) for each in tokens],
            offsets,
        )


def _top(token: TokenLogprob) -> dict[str, float]:
    """The most probable tokens, and the drawn one in any case."""
    drawn = TopLogprob(token.token, token.data, token.logprob)
    return {_named(each.data): _bounded(each.logprob) for each in (*token.top, drawn)}


def _bounded(logprob: float) -> float:
    return max(logprob, LEAST)


def _shown(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _named(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
