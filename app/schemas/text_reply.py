"""Replies of /tokenize, /detokenize and /apply-template."""

from __future__ import annotations

import msgspec


class TokenizeReply(msgspec.Struct):
    tokens: list[int]
    count: int
    max_model_len: int | None  # the two are vLLM's


class DetokenizeReply(msgspec.Struct):
    content: str
    prompt: str  # vLLM's name of content


class ApplyTemplateReply(msgspec.Struct):
    prompt: str
