"""Log-probabilities in replies, in the forms of OpenAI's endpoints."""

from __future__ import annotations

import msgspec


class AnswerTopLogprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int]


class AnswerLogprob(msgspec.Struct):
    """Log-probability of a token in a chat reply, and in the text of a response."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[AnswerTopLogprob]


class ChatLogprobs(msgspec.Struct):
    content: list[AnswerLogprob]
    refusal: None = None


class EventTopLogprob(msgspec.Struct):
    token: str
    logprob: float


class EventLogprob(msgspec.Struct):
    """Log-probability of a token in the events of a response, which have no bytes in OpenAI's API."""

    token: str
    logprob: float
    top_logprobs: list[EventTopLogprob]


class TextLogprobs(msgspec.Struct):
    """Lists of equal length. A token that is not valid UTF-8 by itself is written as "bytes:\\\\xe2\\\\x80"."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class PromptLogprob(msgspec.Struct):
    """Log-probability of a token at a place of the prompt. `rank` is 1 for the most probable token there; null if it is not
    among those that were asked for."""

    logprob: float
    rank: int | None
    decoded_token: str


# For each token of the prompt, by token ids as text; null for the first one, which nothing predicts.
PromptLogprobs = list[dict[str, PromptLogprob] | None]
