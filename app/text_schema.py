"""Requests to /tokenize, /detokenize and /apply-template."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from .chat_schema import Message
from .fields import TokenId


class TokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Null is the same as absent, everywhere."""

    content: str
    add_special: (
        Annotated[bool, Meta(description="add BOS and the like, as a completion's prompt gets them")] | None
    ) = None
    parse_special: (
        Annotated[bool, Meta(description="read special tokens in the text as such; true if absent")] | None
    ) = None


class DetokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    tokens: list[TokenId]


class ApplyTemplateRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    messages: Annotated[list[Message], Meta(min_length=1, description="as in a chat request")]
    add_generation_prompt: Annotated[bool, Meta(description="begin the answer; true if absent")] | None = None
