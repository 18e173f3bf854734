"""Requests to /v1/chat/completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llmcore.messages import N_LOGPROBS_MAX, ChatPrompt, Priority
from llmcore.protocol.chat_limits import check_chat_size

from ..http.errors import invalid
from ..http.priority import asked_priority, check_tier
from .fields import Count, GenerationFields, OnlyEmpty, OnlyFalse, OnlyNull, check_common
from .messages import AssistantMessage, Content, Message, check_messages, raw_messages
from .tools import FunctionTool, ToolChoiceField, Tools, check_tools, chosen, raw_tools

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh"]


class Prediction(msgspec.Struct, tag_field="type", tag="content", forbid_unknown_fields=True):
    content: Content


class ChatRequest(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    """A request for the next message of a conversation."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Count | None = None
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
    service_tier: (
        Annotated[
            Literal["auto", "default", "flex", "priority"], Meta(description="flex is priority low, priority is high")
        ]
        | None
    ) = None

    # Accepted, since no value of theirs would change the answer.
    metadata: Annotated[dict[str, str], Meta(description="accepted without effect")] | None = None
    prediction: Annotated[Prediction, Meta(description="accepted without effect: it would only save time")] | None = (
        None
    )
    prompt_cache_key: Annotated[str, Meta(description="accepted without effect: all share a cache")] | None = None
    safety_identifier: Annotated[str, Meta(description="accepted without effect")] | None = None

    # Accepted with the values that change nothing.
    audio: OnlyNull = None
    function_call: Annotated[Any, Meta(extra_json_schema={"enum": [None, "none", "auto"]})] = None
    functions: OnlyEmpty = None
    modalities: Annotated[Any, Meta(extra_json_schema={"enum": [None, ["text"]]})] = None
    moderation: OnlyNull = None
    prompt_cache_options: OnlyNull = None
    prompt_cache_retention: Annotated[Any, Meta(extra_json_schema={"enum": [None, "in_memory", "in-memory"]})] = None
    store: OnlyFalse = None
    verbosity: Annotated[Any, Meta(extra_json_schema={"enum": [None, "medium"]})] = None
    web_search_options: OnlyNull = None

    def answer_tokens(self) -> int | None:
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def n_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def asked_priority(self) -> Priority | None:
        return asked_priority(self.service_tier, self.priority)

    def prompt(self) -> ChatPrompt:
        """What the engine is to render."""
        return chat_prompt(
            self.messages,
            self.tools,
            self.tool_choice,
            parallel_tool_calls=self.parallel_tool_calls is not False,
            template_args=self.chat_template_kwargs,
            reasoning_effort=self.reasoning_effort,
            is_begun=_is_begun(self.messages[-1]) and self.continue_final_message is not False,
        )


def chat_prompt(
    messages: Sequence[Message],
    tools: list[FunctionTool] | None,
    tool_choice: ToolChoiceField | None,
    *,
    parallel_tool_calls: bool,
    template_args: dict[str, Any] | None,
    reasoning_effort: str | None,
    is_begun: bool = False,
) -> ChatPrompt:
    """Prompt for the engine to render, from checked fields; also for endpoints that name them otherwise. Raises InvalidRequestError
    for what is too large."""
    choice, name = chosen(tool_choice)
    prompt = ChatPrompt(
        raw_messages(messages),
        add_generation_prompt=not is_begun,
        continue_final_message=is_begun,
        tools=raw_tools(tools),
        tool_choice=choice,
        tool_name=name,
        parallel_tool_calls=parallel_tool_calls,
        template_args=msgspec.json.encode(template_args) if template_args else b"",
        reasoning_effort=reasoning_effort or "",
    )
    check_chat_size(prompt)
    return prompt


def _is_begun(message: Message) -> bool:
    """Whether it is an answer that may go on."""
    return isinstance(message, AssistantMessage) and not message.tool_calls


def check_chat(request: ChatRequest) -> None:
    """What the types cannot say. Raises ApiError (400)."""
    check_common(request)
    both = (request.max_tokens, request.max_completion_tokens)
    if None not in both and both[0] != both[1]:
        problem = f"max_tokens ({both[0]}) and max_completion_tokens ({both[1]}) differ: send one of them"
        raise invalid("invalid_value", problem, "max_tokens")
    check_tier(request.service_tier, request.priority)
    check_messages(request.messages)
    check_tools(request.tools, request.tool_choice)
    if request.top_logprobs and not request.logprobs:
        raise invalid("invalid_value", "top_logprobs is only allowed with logprobs", "top_logprobs")
    if request.continue_final_message and not _is_begun(request.messages[-1]):
        problem = "continue_final_message: the last message is not an answer that could go on"
        raise invalid("invalid_value", problem, "continue_final_message")
