"""Replies of /v1/completions."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from .chat_reply import ChoiceFinishReason, Fingerprint
from .logprobs import PromptLogprobs, TextLogprobs
from .usage import TokenUsage


class TextChoice(msgspec.Struct):
    index: int
    text: str
    finish_reason: ChoiceFinishReason | None = None
    logprobs: TextLogprobs | None = None
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET


class TextCompletion(msgspec.Struct):
    """A complete answer, or a chunk of a streamed one."""

    id: str
    created: int
    model: str
    choices: list[TextChoice]
    object: Literal["text_completion"] = "text_completion"
    usage: TokenUsage | UnsetType | None = UNSET
    system_fingerprint: Fingerprint | UnsetType = UNSET
