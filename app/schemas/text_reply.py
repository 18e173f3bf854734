"""Replies of /tokenize, /detokenize and /apply-template."""

from __future__ import annotations

import msgspec


class TokenizeReply(msgspec.Struct):
    tokens: list[int]


class DetokenizeReply(msgspec.Struct):
    content: str


class ApplyTemplateReply(msgspec.Struct):
    prompt: str
