"""Requests to /api/chat and /api/generate, as translations to what /v1/chat/completions does."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llmcore.messages import (
    N_LOGPROBS_MAX,
    ChatPrompt,
    Constraint,
    JsonObject,
    JsonSchema,
    Priority,
    Prompt,
    TextPrompt,
)
from llmcore.protocol.chat_limits import N_TOOLS_MAX

from ..http.errors import invalid
from ..http.hints import hint
from .chat_prompt import chat_prompt
from .messages import AssistantMessage, Message, SystemMessage, UserMessage
from .ollama_messages import Images, OllamaMessage, OllamaTool, chat_messages
from .ollama_options import OllamaOptions
from .raw_json import is_absent, raw_field, raw_text
from .tools import check_tools
from .unsupported_fields import OnlyFalse, refuse_unsupported

Think = bool | Literal["none", "minimal", "low", "medium", "high", "max"]
KeepAlive = Annotated[int | float | str, Meta(description="accepted without effect: the model stays loaded")]

_EFFORTS = {False: "none", "max": "xhigh"}


class OllamaFields(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Fields of both endpoints. Null is the same as absent, everywhere."""

    model: (
        Annotated[str, Meta(description="the name in /api/tags, with or without its tag; may be left out")] | None
    ) = None
    stream: Annotated[bool, Meta(description="true if absent")] | None = None
    format: Annotated[
        msgspec.Raw,
        Meta(
            extra_json_schema={"anyOf": [{"enum": [None, "", "json"]}, {"type": "object"}]},
            description='"json", or a JSON schema',
        ),
    ] = raw_field()
    options: OllamaOptions | None = None
    think: Annotated[Think, Meta(description="false: no reasoning; words where the template knows efforts")] | None = (
        None
    )
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=N_LOGPROBS_MAX)] | None = None
    keep_alive: KeepAlive | None = None
    truncate: Annotated[bool, hint(False, description="without effect: a longer prompt is a 400")] | None = None
    shift: Annotated[bool, hint(False, description="without effect: an answer ends with the context")] | None = None
    debug_render_only: OnlyFalse = msgspec.field(default=None, name="_debug_render_only")
    priority: Annotated[Priority, Meta(description="llmcore's own, as in /v1/chat/completions")] | None = None

    @property
    def is_streamed(self) -> bool:
        return self.stream is not False

    @property
    def n_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def given_options(self) -> OllamaOptions:
        return self.options or OllamaOptions()

    @property
    def reasoning_effort(self) -> str | None:
        """Value of `reasoning_effort` in a chat request; None is the template's default."""
        if self.think is None or self.think is True:
            return None
        return _EFFORTS.get(self.think, str(self.think))

    def constraint(self) -> Constraint | None:
        """Returns the constraint that `format` puts on the answer. Raises ApiError (400)."""
        given = raw_text(self.format, "format")
        if is_absent(self.format) or given == '""':
            return None
        if given == '"json"':
            return JsonObject()
        if not given.startswith("{"):
            raise invalid("invalid_value", 'Invalid format: expected "json" or a JSON schema', "format")
        return JsonSchema(given.encode(), strict=False)


class OllamaChatRequest(OllamaFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the next message of a conversation. Without messages it only asks for the model to be loaded."""

    messages: list[OllamaMessage] | None = None
    tools: Annotated[list[OllamaTool], Meta(max_length=N_TOOLS_MAX)] | None = None

    @property
    def only_loads(self) -> bool:
        return not self.messages

    def engine_prompt(self, effort: str | None) -> ChatPrompt:
        """Returns the prompt for the engine to render. Raises ApiError (400), or InvalidRequestError if it is too large."""
        tools = [tool.to_chat() for tool in self.tools or ()]
        check_tools(tools, None)
        messages = chat_messages(self.messages or ())
        last = messages[-1]
        continues = isinstance(last, AssistantMessage) and not last.tool_calls
        return chat_prompt(
            messages,
            tools,
            reasoning_effort=effort,
            add_generation_prompt=not continues,
            continue_final_message=continues,
        )


class OllamaGenerateRequest(OllamaFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the answer to a prompt. Without a prompt it only asks for the model to be loaded."""

    prompt: str | None = None
    system: str | None = None
    raw: Annotated[bool, Meta(description="the prompt is not put into the chat template")] | None = None
    suffix: Annotated[str, Meta(description="what follows the answer, for models made to fill in")] | None = None
    template: Annotated[str, Meta(max_length=0, description="not supported")] | None = None
    images: Images | None = None
    context: Annotated[list[Any], hint([], description="without effect: send the conversation to /api/chat")] | None = (
        None
    )

    @property
    def only_loads(self) -> bool:
        return not self.prompt

    @property
    def without_template(self) -> str:
        """Name of the field by which the chat template is not used; empty if it is."""
        return "raw" if self.raw else "suffix" if self.suffix else ""

    def engine_prompt(self, effort: str | None) -> Prompt:
        """Returns the prompt for the engine. Raises ApiError (400), or InvalidRequestError if it is too large."""
        text, other = self.prompt or "", self.without_template
        if not other:
            return self._chat_prompt(text, effort)
        if self.system:
            raise invalid("invalid_value", f"system is only allowed without {other}", "system")
        return TextPrompt(text, self.suffix or "")

    def _chat_prompt(self, text: str, effort: str | None) -> ChatPrompt:
        messages: list[Message] = [SystemMessage(self.system)] if self.system else []
        return chat_prompt([*messages, UserMessage(text)], None, reasoning_effort=effort)


def check_ollama(request: OllamaFields) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400)."""
    refuse_unsupported(request)
    if request.top_logprobs and not request.logprobs:
        raise invalid("invalid_value", "top_logprobs is only allowed with logprobs", "top_logprobs")
