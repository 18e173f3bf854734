"""Log-probabilities of an answer's tokens, in the forms of OpenAI's endpoints."""

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
    PromptLogprob,
    PromptLogprobs,
    TextLogprobs,
)

# OpenAI's value for tokens that are next to impossible. JSON has no minus infinity.
LOGPROB_MIN = -9999.0


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> ChatLogprobs:
    return ChatLogprobs(answer_logprobs(tokens))


def answer_logprobs(tokens: Sequence[TokenLogprob]) -> list[AnswerLogprob]:
    return [_answer_logprob(each) for each in tokens]


def event_logprobs(tokens: Sequence[AnswerLogprob]) -> tuple[EventLogprob, ...]:
    return tuple(_event_logprob(each) for each in tokens)


def _answer_logprob(token: TokenLogprob) -> AnswerLogprob:
    top = [AnswerTopLogprob(_token_text(each.data), _bounded(each.logprob), list(each.data)) for each in token.top]
    return AnswerLogprob(_token_text(token.data), _bounded(token.logprob), list(token.data), top)


def _event_logprob(token: AnswerLogprob) -> EventLogprob:
    top = [EventTopLogprob(each.token, each.logprob) for each in token.top_logprobs]
    return EventLogprob(token.token, token.logprob, top)


def prompt_logprobs(tokens: Sequence[TokenLogprob]) -> PromptLogprobs:
    """Returns the log-probabilities of a prompt's tokens from the second on, in vLLM's form."""
    return [None, *map(_prompt_logprobs, tokens)]


def _prompt_logprobs(token: TokenLogprob) -> dict[str, PromptLogprob]:
    ranks = {each.token: rank for rank, each in enumerate(token.top, 1)}
    tokens: tuple[TokenLogprob | TopLogprob, ...] = (token, *token.top)
    return {
        str(each.token): PromptLogprob(_bounded(each.logprob), ranks.get(each.token), _token_text(each.data))
        for each in tokens
    }


class TextLogprobsBuilder:
    """Makes the log-probabilities of one text completion, chunk by chunk. Offsets count characters from its beginning."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._n_characters = 0

    def build(self, tokens: Sequence[TokenLogprob]) -> TextLogprobs:
        """Returns the log-probabilities of the next tokens."""
        offsets = []
        for token in tokens:
            offsets.append(self._n_characters)
            self._n_characters += len(self._decoder.decode(token.data))
        return TextLogprobs(
            [_token_name(each.data) for each in tokens],
            [_bounded(each.logprob) for each in tokens],
            [_top_logprobs(each) for each in tokens],
            offsets,
        )


def _top_logprobs(token: TokenLogprob) -> dict[str, float]:
    """Returns the most probable tokens, and always the drawn one."""
    drawn = TopLogprob(token.token, token.data, token.logprob)
    return {_token_name(each.data): _bounded(each.logprob) for each in (*token.top, drawn)}


def _bounded(logprob: float) -> float:
    return max(logprob, LOGPROB_MIN)


def _token_text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _token_name(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
