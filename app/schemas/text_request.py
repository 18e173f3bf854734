"""Requests to /tokenize, /detokenize and /apply-template."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llmcore.messages import ChatPrompt

from .chat_prompt import chat_prompt
from .messages import Message, check_messages
from .text_or_tokens import TokenId
from .tools import Tools, check_tools


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
    messages: Annotated[list[Message], Meta(description="as in a chat request")]
    add_generation_prompt: Annotated[bool, Meta(description="begin the answer; true if absent")] | None = None
    tools: Tools | None = None
    chat_template_kwargs: Annotated[dict[str, Any], Meta(description="further variables of the template")] | None = None

    def prompt(self) -> ChatPrompt:
        """Returns the prompt for the engine to render. Raises InvalidRequestError if it is too large."""
        return chat_prompt(
            self.messages,
            self.tools,
            template_args=self.chat_template_kwargs,
            add_generation_prompt=self.add_generation_prompt is not False,
        )


def check_apply_template(request: ApplyTemplateRequest) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400)."""
    check_messages(request.messages)
    check_tools(request.tools, None)
