"""Requests to /v1/responses."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from llmcore.messages import N_LOGPROBS_MAX, ChatPrompt, Priority, ToolChoice
from llmcore.protocol.chat_limits import N_TOOLS_MAX

from ..http.errors import invalid
from ..http.ignored_fields import IgnoredFields
from ..http.priority import check_service_tier, priority_of_fields
from ..http.unknown_fields import RefusedFields
from .chat_prompt import chat_prompt
from .chat_request import ReasoningEffort
from .format_fields import (
    FormatFieldNames,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedSchema,
    ResponseFormat,
    TextFormat,
    check_format,
)
from .generation_fields import (
    AnswerLength,
    GenerationFields,
    ServiceTierField,
    check_generation_fields,
    check_length,
)
from .responses_input import Input, read_items, to_messages
from .tools import (
    AllowedToolChoice,
    AllowedTools,
    FunctionDefinition,
    FunctionName,
    FunctionReference,
    FunctionTool,
    NamedToolChoice,
    ToolChoiceField,
    check_functions,
)
from .unsupported_fields import (
    REFUSED_IN_RESPONSES,
    CacheRetention,
    Hint,
    OnlyEmpty,
    OnlyFalse,
    OnlyNull,
    Store,
    TextHint,
    Verbosity,
    refuse_unsupported,
)

FORMAT_NAMES = FormatFieldNames("text.format", "text.format.schema")

# Values of `include` that official clients send. Only the log-probabilities have an effect: built-in tools and images do not
# occur, and reasoning is always in the reply, unencrypted, so that clients can send it back.
LOGPROBS = "message.output_text.logprobs"
Includable = Literal[
    "message.output_text.logprobs",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
]


class FlatFunctionTool(FunctionDefinition, tag_field="type", tag="function", kw_only=True, forbid_unknown_fields=True):
    """A function. In this API its fields are beside its type, not in an object of their own."""

    refused_fields: ClassVar[RefusedFields] = {"function": ()}

    allowed_callers: Annotated[Any, Meta(extra_json_schema={"enum": [None, ["direct"]]})] = None
    defer_loading: OnlyFalse = None
    output_schema: OnlyNull = None
    is_async: OnlyFalse = msgspec.field(default=None, name="async")

    def to_chat(self) -> FunctionTool:
        """Returns the tool in the form of a chat request."""
        function = FunctionDefinition(
            name=self.name, description=self.description, parameters=self.parameters, strict=self.strict
        )
        return FunctionTool(function=function)


class FlatToolChoice(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    name: FunctionName

    def to_chat(self) -> NamedToolChoice:
        """Returns the choice in the form of a chat request."""
        return NamedToolChoice(FunctionReference(self.name))


class FlatAllowedToolChoice(msgspec.Struct, tag_field="type", tag="allowed_tools", forbid_unknown_fields=True):
    """Functions of the request that may be called. The prompt has no others."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[FlatToolChoice], Meta(min_length=1, max_length=N_TOOLS_MAX)]

    def to_chat(self) -> AllowedToolChoice:
        """Returns the choice in the form of a chat request."""
        return AllowedToolChoice(AllowedTools(self.mode, [tool.to_chat() for tool in self.tools]))


class FlatJsonSchemaFormat(NamedSchema, tag_field="type", tag="json_schema", kw_only=True, forbid_unknown_fields=True):
    """A JSON schema. In this API its name and strictness are beside its type, not in an object of their own."""

    refused_fields: ClassVar[RefusedFields] = {"json_schema": ()}

    description: Annotated[str, Meta(description="told in the answer")] | None = None


class TextOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    format: TextFormat | JsonObjectFormat | FlatJsonSchemaFormat | None = None
    verbosity: Verbosity | None = None


class ReasoningOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    effort: (
        Annotated[ReasoningEffort, Meta(description="none: no reasoning; others where the template knows efforts")]
        | None
    ) = None
    summary: Annotated[
        Any,
        Meta(extra_json_schema={"enum": [None, "auto"]}, description="all of it is told, not a summary"),
    ] = None
    generate_summary: Annotated[Any, Meta(extra_json_schema={"enum": [None, "auto"]})] = None
    context: Annotated[Any, Meta(extra_json_schema={"enum": [None, "auto"]})] = None
    mode: Annotated[Any, Meta(extra_json_schema={"enum": [None, "standard"]})] = None


class ResponsesStreamOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    include_obfuscation: OnlyFalse = None


class ResponsesRequest(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the answer to a conversation. It contains the whole conversation: nothing is stored."""

    refused_fields: ClassVar[RefusedFields] = REFUSED_IN_RESPONSES

    input: Input
    instructions: Annotated[str, Meta(description="a system message before the input")] | None = None
    max_output_tokens: AnswerLength | None = None
    tools: Annotated[list[FlatFunctionTool], Meta(max_length=N_TOOLS_MAX)] | None = None
    tool_choice: ToolChoice | FlatToolChoice | FlatAllowedToolChoice | None = None
    parallel_tool_calls: Annotated[bool, Meta(description="several calls in one answer; true if absent")] | None = None
    text: TextOptions | None = None
    include: (
        Annotated[
            list[Includable],
            Meta(description="message.output_text.logprobs has an effect; what else there is, is told in any case"),
        ]
        | None
    ) = None
    top_logprobs: (
        Annotated[
            int,
            Meta(
                ge=0, le=N_LOGPROBS_MAX, description="most probable tokens beside each; needs the include of logprobs"
            ),
        ]
        | None
    ) = None
    reasoning: ReasoningOptions | None = None
    stream_options: ResponsesStreamOptions | None = None
    chat_template_kwargs: (
        Annotated[dict[str, Any], Meta(description="llmcore's own; further variables of the chat template")] | None
    ) = None
    service_tier: ServiceTierField | None = None
    metadata: Annotated[dict[str, Any], Meta(description="told in the answer")] | None = None

    # Accepted: no value of these would change the answer.
    max_tool_calls: (
        Annotated[int, Meta(ge=1, description="accepted without effect: it is about built-in tools")] | None
    ) = None
    prompt_cache_key: TextHint | None = None
    prompt_cache_options: Hint = None
    prompt_cache_retention: CacheRetention | None = None
    safety_identifier: TextHint | None = None
    store: Store | None = None

    # Accepted only with values that change nothing.
    access_programs: OnlyNull = None
    background: OnlyFalse = None
    background_options: OnlyNull = None
    context_management: OnlyEmpty = None
    conversation: OnlyNull = None
    image: OnlyNull = None
    moderation: OnlyNull = None
    previous_response_id: OnlyNull = None
    prompt: OnlyNull = None
    truncation: Annotated[Any, Meta(extra_json_schema={"enum": [None, "disabled"]})] = None

    @property
    def requested_priority(self) -> Priority | None:
        return priority_of_fields(self.service_tier, self.priority)

    @property
    def effort(self) -> ReasoningEffort | None:
        return self.reasoning.effort if self.reasoning is not None else None

    @property
    def n_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if LOGPROBS in (self.include or ()) else None

    @property
    def response_format(self) -> ResponseFormat | None:
        """Value of text.format, in the form of a chat request."""
        given = None if self.text is None else self.text.format
        return JsonSchemaFormat(given) if isinstance(given, FlatJsonSchemaFormat) else given

    def chat_tools(self) -> list[FunctionTool]:
        return [tool.to_chat() for tool in self.tools or ()]

    def chat_tool_choice(self) -> ToolChoiceField | None:
        choice = self.tool_choice
        return choice.to_chat() if isinstance(choice, FlatToolChoice | FlatAllowedToolChoice) else choice

    def chat_prompt(self, ignored: IgnoredFields) -> ChatPrompt:
        """Returns the prompt for the engine to render; notes fields of its items without effect.

        Raises ApiError (400), or InvalidRequestError if it is too large."""
        return chat_prompt(
            to_messages(self.instructions, read_items(self.input, ignored)),
            self.chat_tools(),
            self.chat_tool_choice(),
            parallel_tool_calls=self.parallel_tool_calls is not False,
            template_args=self.chat_template_kwargs,
            reasoning_effort=self.effort,
        )


def check_responses(request: ResponsesRequest) -> None:
    """Checks rules that the types cannot express, except for the input. Raises ApiError (400)."""
    _check_stateless(request)
    check_generation_fields(request, request.stream_options)
    check_length(request, ("max_output_tokens",))
    check_service_tier(request.service_tier, request.priority)
    for index, tool in enumerate(request.tools or ()):
        refuse_unsupported(tool, f"tools[{index}].")
    choice = request.chat_tool_choice()
    check_functions(
        request.tools or (),
        choice,
        path="tools[{}]",
        choice_path="tool_choice.name",
        allowed_path="tool_choice.tools[{}].name",
    )
    if request.reasoning is not None:
        refuse_unsupported(request.reasoning, "reasoning.")
    if request.text is not None:
        refuse_unsupported(request.text, "text.")
    check_format(request, FORMAT_NAMES)
    if request.top_logprobs and request.n_logprobs is None:
        raise invalid("invalid_value", f'top_logprobs is only allowed with include: ["{LOGPROBS}"]', "top_logprobs")


def _check_stateless(request: ResponsesRequest) -> None:
    for name in ("previous_response_id", "conversation", "prompt"):
        if getattr(request, name) is not None:
            problem = f"{name} is not supported: nothing is stored here. Send the whole conversation as input"
            raise invalid("unsupported_parameter", problem, name)
