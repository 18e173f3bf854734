"""Requests to /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from llmcore.messages import ChatPrompt
from llmcore.protocol.chat_limits import N_TOOLS_MAX

from ..http.hints import hint
from ..http.unknown_fields import RefusedFields
from .anthropic_content import (
    AnthropicMessage,
    TextBlock,
    to_messages,
)
from .anthropic_tools import AnthropicTool, AnthropicToolChoice, chat_tool_choice, check_anthropic_tools
from .chat_prompt import chat_prompt
from .chat_request import ReasoningEffort
from .form_fields import GrammarSource, Pattern
from .format_fields import (
    FormatFieldNames,
    JsonSchemaFormat,
    NamedSchema,
    ResponseFormat,
    check_format,
)
from .generation_fields import GenerationFields, StopString, check_generation_fields
from .messages import AssistantMessage, check_messages
from .sampling_fields import INT32_MAX
from .unsupported_fields import REFUSED_IN_MESSAGES_API, Hint, Metadata, OnlyEmpty, OnlyNull

FORMAT_NAMES = FormatFieldNames("output_config.format", "output_config.format.schema")

Effort = Literal["low", "medium", "high", "xhigh", "max"]
# This API has no word for "up to the end of the context".
MaxTokens = Annotated[int, Meta(ge=1, le=INT32_MAX, description="longest answer, in tokens")]
Display = Annotated[Literal["summarized", "omitted"], Meta(description="omitted: reasoning is not told")]


class ThinkingEnabled(msgspec.Struct, tag_field="type", tag="enabled", kw_only=True, forbid_unknown_fields=True):
    budget_tokens: Annotated[int, hint(description="a hint: max_tokens bounds the answer")] | None = None
    display: Display | None = None


class ThinkingDisabled(msgspec.Struct, tag_field="type", tag="disabled", forbid_unknown_fields=True):
    """No reasoning, if the chat template has a switch for it."""

    display: Display | None = None


class ThinkingAdaptive(msgspec.Struct, tag_field="type", tag="adaptive", forbid_unknown_fields=True):
    """The model decides."""

    display: Display | None = None


class ThinkingBetweenTools(msgspec.Struct, tag_field="type", tag="between_tools", forbid_unknown_fields=True):
    """The model decides."""

    display: Display | None = None


Thinking = ThinkingEnabled | ThinkingDisabled | ThinkingAdaptive | ThinkingBetweenTools


class OutputFormat(msgspec.Struct, tag_field="type", tag="json_schema", forbid_unknown_fields=True):
    # Raw JSON: the properties of an answer come in the order of the schema's.
    schema: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"}, description="a JSON schema")]


class OutputConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    format: OutputFormat | None = None
    effort: Annotated[Effort, Meta(description="for templates that know efforts; else told as ignored")] | None = None


class AnthropicFields(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    """Fields of both endpoints."""

    refused_fields: ClassVar[RefusedFields] = REFUSED_IN_MESSAGES_API

    messages: Annotated[list[AnthropicMessage], Meta(min_length=1)]
    system: str | list[TextBlock] | None = None
    tools: Annotated[list[AnthropicTool], Meta(max_length=N_TOOLS_MAX)] | None = None
    tool_choice: AnthropicToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Annotated[OutputFormat, Meta(description="the earlier name of output_config.format")] | None = None
    chat_template_kwargs: (
        Annotated[dict[str, Any], Meta(description="llmcore's own; further variables of the chat template")] | None
    ) = None
    stop_sequences: (
        Annotated[list[StopString], Meta(description="the answer ends before the first of these; `stop` is the same")]
        | None
    ) = None
    temperature: Annotated[float, Meta(ge=0, le=1, description="0 takes the most probable token")] | None = None
    regex: Pattern | None = None
    grammar: GrammarSource | None = None

    cache_control: Hint = None
    context_management: Hint = None
    diagnostics: Hint = None
    inference_geo: Hint = None
    metadata: Metadata | None = None
    service_tier: Annotated[str, hint("auto", "standard_only")] | None = None
    speed: Annotated[str, hint("standard")] | None = None

    # Accepted only with values that change nothing.
    container: OnlyNull = None
    mcp_servers: OnlyEmpty = None

    @property
    def effort(self) -> ReasoningEffort | None:
        """The reasoning effort, as chat has it. The template may have no efforts other than "none"."""
        if isinstance(self.thinking, ThinkingDisabled):
            return "none"
        effort = None if self.output_config is None else self.output_config.effort
        return "xhigh" if effort == "max" else effort

    def prompt(self, effort: ReasoningEffort | None = None) -> ChatPrompt:
        """Returns the prompt for the engine to render, with the effort to apply. Raises ApiError (400), or InvalidRequestError
        if it is too large."""
        messages = to_messages(self.system, self.messages)
        check_messages(messages)
        last = messages[-1]
        continues = isinstance(last, AssistantMessage) and not last.tool_calls
        choice = self.tool_choice
        return chat_prompt(
            messages,
            [tool.to_chat() for tool in self.tools or ()],
            chat_tool_choice(choice),
            parallel_tool_calls=choice is None or not choice.disable_parallel_tool_use,
            template_args=self._template_args(),
            reasoning_effort=effort,
            add_generation_prompt=not continues,
            continue_final_message=continues,
        )

    def _template_args(self) -> dict[str, Any]:
        switch = {"enable_thinking": True} if isinstance(self.thinking, ThinkingEnabled) else {}
        return switch | (self.chat_template_kwargs or {})

    @property
    def response_format(self) -> ResponseFormat | None:
        """The format of the answer, in the form of a chat request."""
        given = self.output_config.format if self.output_config is not None else None
        given = given or self.output_format
        return None if given is None else JsonSchemaFormat(NamedSchema(name="output", schema=given.schema))

    @property
    def shows_thinking(self) -> bool:
        return self.thinking is None or self.thinking.display != "omitted"

    def stop_strings(self) -> tuple[str, ...]:
        return (*super().stop_strings(), *(self.stop_sequences or ()))


class AnthropicRequest(AnthropicFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the next message of a conversation."""

    max_tokens: MaxTokens


class CountTokensRequest(AnthropicFields, kw_only=True, forbid_unknown_fields=True):
    """A prompt whose tokens are to be counted. Fields about the answer have no effect."""

    max_tokens: MaxTokens | None = None


def check_anthropic(request: AnthropicFields) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400)."""
    check_generation_fields(request, None)
    check_anthropic_tools(request.tools or (), request.tool_choice)
    check_format(request, FORMAT_NAMES)
