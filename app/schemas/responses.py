"""Requests to /v1/responses."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llmcore.messages import N_LOGPROBS_MAX, ChatPrompt, Priority, ToolChoice
from llmcore.protocol.chat_limits import N_TOOLS_MAX

from ..http.errors import invalid
from ..http.priority import asked_priority, check_tier
from .chat import ReasoningEffort, chat_prompt
from .fields import AnswerFields, Count, OnlyEmpty, OnlyFalse, OnlyNull, check_answer, refuse_unsupported
from .format_fields import (
    FormatNames,
    GrammarSource,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedSchema,
    Pattern,
    ResponseFormat,
    TextFormat,
    check_format,
)
from .responses_input import Input, conversation, read_items
from .tools import (
    FunctionDefinition,
    FunctionName,
    FunctionReference,
    FunctionTool,
    NamedToolChoice,
    ToolChoiceField,
    check_functions,
)

FORMAT_NAMES = FormatNames("text.format", "text.format.schema")

# All that official clients may ask for beside the answer. But for the log-probabilities it cannot be missing from it: built-in
# tools and images do not occur, and reasoning is sent in the clear, so that it can be sent back without being stored here.
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


class ResponseTool(FunctionDefinition, tag_field="type", tag="function", kw_only=True, forbid_unknown_fields=True):
    """A function; in this API its fields stand beside its type."""

    allowed_callers: Annotated[Any, Meta(extra_json_schema={"enum": [None, ["direct"]]})] = None
    defer_loading: OnlyFalse = None
    output_schema: OnlyNull = None
    is_async: OnlyFalse = msgspec.field(default=None, name="async")

    def plain(self) -> FunctionTool:
        """As a chat request has it."""
        function = FunctionDefinition(
            name=self.name, description=self.description, parameters=self.parameters, strict=self.strict
        )
        return FunctionTool(function=function)


class ResponseToolChoice(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    name: FunctionName


class ResponseJsonSchema(NamedSchema, tag_field="type", tag="json_schema", kw_only=True, forbid_unknown_fields=True):
    """In this API a schema's name and strictness stand beside its type."""

    description: Annotated[str, Meta(description="told in the answer")] | None = None


class TextOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    format: TextFormat | JsonObjectFormat | ResponseJsonSchema | None = None
    verbosity: Annotated[Any, Meta(extra_json_schema={"enum": [None, "medium"]})] = None


class ReasoningOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    effort: (
        Annotated[ReasoningEffort, Meta(description="none: no reasoning; others where the template knows efforts")]
        | None
    ) = None
    summary: Annotated[
        Any, Meta(extra_json_schema={"enum": [None, "auto"]}, description="all of it is told, not a summary")
    ] = None
    generate_summary: Annotated[Any, Meta(extra_json_schema={"enum": [None, "auto"]})] = None
    context: Annotated[Any, Meta(extra_json_schema={"enum": [None, "auto"]})] = None
    mode: Annotated[Any, Meta(extra_json_schema={"enum": [None, "standard"]})] = None


class ResponseStreamOptions(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    include_obfuscation: OnlyFalse = None


class ResponsesRequest(AnswerFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the answer to a conversation, all of which it brings along: nothing is stored."""

    input: Input
    instructions: Annotated[str, Meta(description="a system message before the input")] | None = None
    max_output_tokens: Count | None = None
    tools: Annotated[list[ResponseTool], Meta(max_length=N_TOOLS_MAX)] | None = None
    tool_choice: ToolChoice | ResponseToolChoice | None = None
    parallel_tool_calls: Annotated[bool, Meta(description="several calls in one answer; true if absent")] | None = None
    text: TextOptions | None = None
    regex: Pattern | None = None
    grammar: GrammarSource | None = None
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
    stream_options: ResponseStreamOptions | None = None
    chat_template_kwargs: (
        Annotated[dict[str, Any], Meta(description="llmcore's own; further variables of the chat template")] | None
    ) = None
    service_tier: (
        Annotated[
            Literal["auto", "default", "flex", "priority"], Meta(description="flex is priority low, priority is high")
        ]
        | None
    ) = None
    metadata: Annotated[dict[str, str], Meta(description="told in the answer")] | None = None

    # Accepted, since no value of theirs would change the answer.
    max_tool_calls: (
        Annotated[int, Meta(ge=1, description="accepted without effect: it is about built-in tools")] | None
    ) = None
    prompt_cache_key: Annotated[str, Meta(description="accepted without effect: all share a cache")] | None = None
    safety_identifier: Annotated[str, Meta(description="accepted without effect")] | None = None

    # Accepted with the values that change nothing.
    access_programs: OnlyNull = None
    background: OnlyFalse = None
    background_options: OnlyNull = None
    context_management: OnlyEmpty = None
    conversation: OnlyNull = None
    image: OnlyNull = None
    moderation: OnlyNull = None
    previous_response_id: OnlyNull = None
    prompt: OnlyNull = None
    prompt_cache_options: OnlyNull = None
    prompt_cache_retention: Annotated[Any, Meta(extra_json_schema={"enum": [None, "in_memory", "in-memory"]})] = None
    store: OnlyFalse = None
    truncation: Annotated[Any, Meta(extra_json_schema={"enum": [None, "disabled"]})] = None

    @property
    def asked_priority(self) -> Priority | None:
        return asked_priority(self.service_tier, self.priority)

    @property
    def effort(self) -> ReasoningEffort | None:
        return self.reasoning.effort if self.reasoning is not None else None

    @property
    def n_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if LOGPROBS in (self.include or ()) else None

    @property
    def response_format(self) -> ResponseFormat | None:
        """As a chat request has it."""
        given = None if self.text is None else self.text.format
        return JsonSchemaFormat(given) if isinstance(given, ResponseJsonSchema) else given

    def chat_tools(self) -> list[FunctionTool]:
        return [tool.plain() for tool in self.tools or ()]

    def chat_tool_choice(self) -> ToolChoiceField | None:
        if isinstance(self.tool_choice, ResponseToolChoice):
            return NamedToolChoice(FunctionReference(self.tool_choice.name))
        return self.tool_choice

    def prompt_to_render(self) -> ChatPrompt:
        """What the engine is to render. Raises ApiError (400)."""
        return chat_prompt(
            conversation(self.instructions, read_items(self.input)),
            self.chat_tools(),
            self.chat_tool_choice(),
            parallel_tool_calls=self.parallel_tool_calls is not False,
            template_args=self.chat_template_kwargs,
            reasoning_effort=self.effort,
        )


def check_responses(request: ResponsesRequest) -> None:
    """What the types cannot say, but of the input. Raises ApiError (400)."""
    _check_stateless(request)
    check_answer(request, request.stream_options)
    check_tier(request.service_tier, request.priority)
    for index, tool in enumerate(request.tools or ()):
        refuse_unsupported(tool, f"tools[{index}].")
    choice = request.chat_tool_choice()
    check_functions(request.tools or (), choice, path="tools[{}]", choice_path="tool_choice.name")
    if request.reasoning is not None:
        refuse_unsupported(request.reasoning, "reasoning.")
    if request.text is not None:
        refuse_unsupported(request.text, "text.")
    check_format(request, FORMAT_NAMES)
    if request.top_logprobs and request.n_logprobs is None:
        raise invalid("invalid_value", f'top_logprobs is only allowed with include: ["{LOGPROBS}"]', "top_logprobs")


def _check_stateless(request: ResponsesRequest) -> None:
    for name in ("store", "previous_response_id", "conversation", "prompt"):
        if getattr(request, name) not in (None, False):
            problem = f"{name} is not supported: nothing is stored here. Send the whole conversation as input"
            raise invalid("unsupported_parameter", problem, name)
