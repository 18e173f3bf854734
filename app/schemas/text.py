"""Requests to /tokenize, /detokenize and /apply-template."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llmcore.messages import ChatPrompt
from llmcore.protocol.chat_limits import check_chat_size

from .fields import TokenId
from .messages import Message, check_messages, raw_messages
from .tools import Tools, check_tools, raw_tools


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
    tools: Tools | None = None
    chat_template_kwargs: Annotated[dict[str, Any], Meta(description="further variables of the template")] | None = None

    def prompt(self) -> ChatPrompt:
        """Raises InvalidRequestError for what is too large."""
        prompt = ChatPrompt(
            raw_messages(self.messages),
            add_generation_prompt=self.add_generation_prompt is not False,
            tools=raw_tools(self.tools),
            template_args=msgspec.json.encode(self.chat_template_kwargs) if self.chat_template_kwargs else b"",
        )
        check_chat_size(prompt)
        return prompt


def check_apply_template(request: ApplyTemplateRequest) -> None:
    """What the types cannot say. Raises ApiError (400)."""
    check_messages(request.messages)
    check_tools(request.tools, None)
