"""Requests to /v1/prefixes/{name}."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from llmcore.messages import PREFIX_NAME_PATTERN, PREFIX_NAME_RULE, ChatPrompt, PrefixSpec, TextPrompt, TokensPrompt
from llmcore.protocol.chat_limits import check_chat_size

from ..http.errors import invalid
from .fields import TokenId
from .messages import Message, check_messages, raw_messages
from .tools import Tools, check_tools, raw_tools


class PrefixRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What prompts begin with: `messages`, or a `prompt`."""

    messages: Annotated[list[Message], Meta(min_length=1, description="as in a chat request")] | None = None
    tools: Annotated[Tools, Meta(description="with messages; templates tell of them before all messages")] | None = None
    prompt: (
        Annotated[str, Meta(min_length=1)]
        | Annotated[list[TokenId], Meta(min_length=1, description="text or token ids, as in a completion")]
        | None
    ) = None

    @property
    def field(self) -> str:
        return "prompt" if self.messages is None else "messages"

    def spec(self, name: str) -> PrefixSpec:
        """What the engine is to pin. Raises ApiError (400)."""
        if self.messages is not None and self.prompt is not None:
            raise invalid("invalid_value", "prompt and messages are both there: send one of them", "prompt")
        if self.messages is not None:
            check_messages(self.messages)
            check_tools(self.tools, None)
            chat = ChatPrompt(raw_messages(self.messages), add_generation_prompt=False, tools=raw_tools(self.tools))
            check_chat_size(chat)
            return PrefixSpec(name=name, prompt=chat)
        if self.tools is not None:
            raise invalid("invalid_value", "tools belong to messages: without these they are nothing", "tools")
        if self.prompt is None:
            raise invalid("missing_required_parameter", "Missing required parameter: messages, or prompt", "messages")
        prompt = TextPrompt(self.prompt) if isinstance(self.prompt, str) else TokensPrompt(tuple(self.prompt))
        return PrefixSpec(name=name, prompt=prompt)


def check_name(name: str) -> str:
    """Raises ApiError (400)."""
    if not re.fullmatch(PREFIX_NAME_PATTERN, name):
        raise invalid("invalid_value", f"Invalid name of a prefix: use {PREFIX_NAME_RULE}", "name")
    return name
