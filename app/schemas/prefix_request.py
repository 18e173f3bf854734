"""Requests to /v1/prefixes/{name}."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from llmcore.messages import PREFIX_NAME_PATTERN, PREFIX_NAME_RULE, PrefixSpec, TextPrompt, TokensPrompt

from ..http.errors import invalid
from .chat_prompt import chat_prompt
from .messages import Message, check_messages
from .text_or_tokens import TokenId
from .tools import Tools, check_tools


class PrefixRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Beginning of prompts: `messages`, or a `prompt`."""

    messages: Annotated[list[Message], Meta(min_length=1, description="as in a chat request")] | None = None
    tools: Annotated[Tools, Meta(description="with messages; templates tell of them before all messages")] | None = None
    prompt: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[TokenId], Meta(min_length=1, description="text or token ids, as in a completion")]
        | None
    ) = None

    @property
    def field(self) -> str:
        """Name of the field that has the prefix."""
        return "prompt" if self.messages is None else "messages"

    def spec(self, name: str) -> PrefixSpec:
        """Returns the prefix for the engine to pin. Raises ApiError (400), or InvalidRequestError if it is too large."""
        if self.messages is not None and self.prompt is not None:
            raise invalid("invalid_value", "prompt and messages are both there: send one of them", "prompt")
        if self.messages is not None:
            check_messages(self.messages)
            check_tools(self.tools, None)
            return PrefixSpec(name=name, prompt=chat_prompt(self.messages, self.tools, add_generation_prompt=False))
        if self.tools is not None:
            raise invalid("invalid_value", "tools are only allowed with messages", "tools")
        if self.prompt is None:
            raise invalid("missing_required_parameter", "Missing required parameter: messages, or prompt", "messages")
        prompt = TextPrompt(self.prompt) if isinstance(self.prompt, str) else TokensPrompt(tuple(self.prompt))
        return PrefixSpec(name=name, prompt=prompt)


def check_prefix_name(name: str) -> str:
    """Returns the name if it is a valid one. Raises ApiError (400)."""
    if not re.fullmatch(PREFIX_NAME_PATTERN, name):
        raise invalid("invalid_value", f"Invalid name of a prefix: use {PREFIX_NAME_RULE}", "name")
    return name
