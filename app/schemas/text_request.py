"""Requests to /tokenize, /detokenize and /apply-template."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llmcore.messages import ChatPrompt

from ..http.errors import invalid
from .chat_prompt import chat_prompt
from .messages import Message, check_messages
from .same_fields import check_same, first_given
from .text_or_tokens import TokenId
from .tools import Tools, check_tools


class TokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Null is the same as absent, everywhere."""

    content: Annotated[str, Meta(description="the text")] | None = None
    prompt: Annotated[str, Meta(description="vLLM's name of content")] | None = None
    model: Annotated[str, Meta(description="the id in /v1/models; may be left out")] | None = None
    add_special: (
        Annotated[
            bool,
            Meta(description="add BOS and the like, as a completion's prompt gets them; if absent, true with `prompt`"),
        ]
        | None
    ) = None
    add_special_tokens: Annotated[bool, Meta(description="vLLM's name of add_special")] | None = None
    parse_special: (
        Annotated[bool, Meta(description="read special tokens in the text as such; true if absent")] | None
    ) = None

    def text(self) -> str:
        """Returns the text under either name. Raises ApiError (400)."""
        check_same(self, ("content", "prompt"))
        check_same(self, ("add_special", "add_special_tokens"))
        name = first_given(self, ("content", "prompt"))
        if name is None:
            raise invalid("missing_required_parameter", "Object missing required field `content`", "content")
        return str(getattr(self, name))

    @property
    def adds_special(self) -> bool:
        """True if the model's special tokens are added. The default is that of the API whose name the text has."""
        name = first_given(self, ("add_special", "add_special_tokens"))
        return self.content is None if name is None else bool(getattr(self, name))


class DetokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    tokens: list[TokenId]
    model: Annotated[str, Meta(description="the id in /v1/models; may be left out")] | None = None


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
