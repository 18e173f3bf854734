"""Requests to /v1/chat/completions."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from llmcore.messages import N_LOGPROBS_MAX, ChatPrompt, Priority

from ..http.errors import invalid
from ..http.hints import hint
from ..http.priority import check_service_tier, priority_of_fields
from ..http.unknown_fields import RefusedFields
from .chat_prompt import chat_prompt
from .generation_fields import AnswerLength, CompletionFields, ServiceTierField, check_completion_fields, check_length
from .messages import AssistantMessage, Content, Message, check_messages
from .tools import ToolChoiceField, Tools, check_tools
from .unsupported_fields import (
    REFUSED_IN_CHAT,
    CacheRetention,
    Hint,
    Metadata,
    OnlyEmpty,
    OnlyNull,
    Store,
    TextHint,
    Verbosity,
    refuse_unsupported,
)

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


LENGTH_FIELDS = ("max_tokens", "max_completion_tokens", "n_predict")


class Prediction(msgspec.Struct, tag_field="type", tag="content", forbid_unknown_fields=True):
    content: Content


class ChatRequest(CompletionFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the next message of a conversation."""

    refused_fields: ClassVar[RefusedFields] = REFUSED_IN_CHAT

    messages: list[Message]
    max_completion_tokens: AnswerLength | None = None
    logprobs: Annotated[bool, Meta(description="tell each token's log-probability")] | None = None
    top_logprobs: (
        Annotated[int, Meta(ge=0, le=N_LOGPROBS_MAX, description="most probable tokens beside each; needs logprobs")]
        | None
    ) = None
    tools: Tools | None = None
    tool_choice: ToolChoiceField | None = None
    parallel_tool_calls: Annotated[bool, Meta(description="several calls in one answer; true if absent")] | None = None
    reasoning_effort: (
        Annotated[ReasoningEffort, Meta(description="none: no reasoning; others where the template knows efforts")]
        | None
    ) = None
    chat_template_kwargs: (
        Annotated[dict[str, Any], Meta(description="llmcore's own; further variables of the chat template")] | None
    ) = None
    continue_final_message: (
        Annotated[
            bool,
            Meta(description="llmcore's own; go on with the last message if it is the assistant's; true if absent"),
        ]
        | None
    ) = None
    add_generation_prompt: (
        Annotated[
            bool,
            Meta(description="vLLM's; true: begin a new message, false: the prompt ends with the last message"),
        ]
        | None
    ) = None
    service_tier: ServiceTierField | None = None
    prediction: (
        Annotated[
            Prediction,
            Meta(description="much of the answer, as far as it is known: the answer is the same, and comes sooner"),
        ]
        | None
    ) = None

    # Accepted: no value of these would change the answer.
    best_of: Annotated[int, Meta(ge=1, le=1), hint(description="1: accepted without effect")] | None = None
    metadata: Metadata | None = None
    prompt_cache_key: TextHint | None = None
    prompt_cache_options: Hint = None
    prompt_cache_retention: CacheRetention | None = None
    safety_identifier: TextHint | None = None
    store: Store | None = None
    verbosity: Verbosity | None = None

    # Accepted only with values that change nothing.
    audio: OnlyNull = None
    function_call: Annotated[Any, Meta(extra_json_schema={"enum": [None, "none", "auto"]})] = None
    functions: OnlyEmpty = None
    modalities: Annotated[Any, Meta(extra_json_schema={"enum": [None, ["text"]]})] = None
    moderation: OnlyNull = None
    web_search_options: OnlyNull = None

    @property
    def n_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def requested_priority(self) -> Priority | None:
        return priority_of_fields(self.service_tier, self.priority)

    @property
    def predicted_text(self) -> str:
        """Text of the prediction; empty if there is none."""
        content = "" if self.prediction is None else self.prediction.content
        return content if isinstance(content, str) else "".join(part.text for part in content)

    @property
    def continues_message(self) -> bool:
        """True if the answer continues the last message."""
        if self.continue_final_message is None and self.add_generation_prompt:
            return False
        return _can_continue(self.messages) and self.continue_final_message is not False

    def prompt(self) -> ChatPrompt:
        """Returns the prompt for the engine to render. Raises InvalidRequestError if it is too large."""
        continues = self.continues_message
        return chat_prompt(
            self.messages,
            self.tools,
            self.tool_choice,
            parallel_tool_calls=self.parallel_tool_calls is not False,
            template_args=self.chat_template_kwargs,
            reasoning_effort=self.reasoning_effort,
            add_generation_prompt=not continues and self.add_generation_prompt is not False,
            continue_final_message=continues,
        )


def _can_continue(messages: list[Message]) -> bool:
    """True if the last message is an answer that the model can continue."""
    message = messages[-1] if messages else None
    return isinstance(message, AssistantMessage) and not message.tool_calls


def check_chat(request: ChatRequest) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400)."""
    check_completion_fields(request)
    check_length(request, LENGTH_FIELDS)
    check_service_tier(request.service_tier, request.priority)
    check_messages(request.messages)
    if request.prediction is not None and isinstance(request.prediction.content, list):
        for index, part in enumerate(request.prediction.content):
            refuse_unsupported(part, f"prediction.content[{index}].")
    check_tools(request.tools, request.tool_choice)
    if request.top_logprobs and not request.logprobs:
        raise invalid("invalid_value", "top_logprobs is only allowed with logprobs", "top_logprobs")
    if request.continue_final_message and request.add_generation_prompt:
        problem = "continue_final_message contradicts add_generation_prompt, which begins a new message"
        raise invalid("invalid_value", problem, "continue_final_message")
    if request.continue_final_message and not _can_continue(request.messages):
        problem = "continue_final_message: the last message is not an answer that can be continued"
        raise invalid("invalid_value", problem, "continue_final_message")
