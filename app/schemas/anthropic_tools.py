"""Tools of Anthropic's API in requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llmcore.log import cut

from ..http.errors import invalid
from .tools import (
    FunctionDefinition,
    FunctionReference,
    FunctionTool,
    NamedToolChoice,
    ToolChoiceField,
    check_functions,
)
from .unsupported_fields import Hint, OnlyFalse, refuse_unsupported

ToolName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
Parallel = Annotated[bool, Meta(description="at most one call in an answer; false if absent")]


class AnthropicTool(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A tool that the caller runs. Tools with a type of their own run at Anthropic's servers, or have schemas that only
    Anthropic's models know: they are refused."""

    name: ToolName
    type: Annotated[str, Meta(extra_json_schema={"enum": ["custom"]})] | None = None
    description: str | None = None
    # Absent in tools that are refused by their type.
    input_schema: Annotated[dict[str, Any], Meta(description="a JSON schema")] | None = None
    strict: (
        Annotated[bool, Meta(description="refuse a schema that cannot be honoured in whole; else it is relaxed")] | None
    ) = None
    allowed_callers: Annotated[Any, Meta(extra_json_schema={"enum": [None, ["direct"]]})] = None
    cache_control: Hint = None
    defer_loading: OnlyFalse = None
    eager_input_streaming: Hint = None
    input_examples: Hint = None

    def to_chat(self) -> FunctionTool:
        """Returns the tool in the form of a chat request."""
        return FunctionTool(
            function=FunctionDefinition(
                name=self.name, description=self.description, parameters=self.input_schema, strict=self.strict
            )
        )


class AutoChoice(msgspec.Struct, tag_field="type", tag="auto", forbid_unknown_fields=True):
    disable_parallel_tool_use: Parallel | None = None


class AnyChoice(msgspec.Struct, tag_field="type", tag="any", forbid_unknown_fields=True):
    disable_parallel_tool_use: Parallel | None = None


class ChosenTool(msgspec.Struct, tag_field="type", tag="tool", kw_only=True, forbid_unknown_fields=True):
    name: ToolName
    disable_parallel_tool_use: Parallel | None = None


class NoneChoice(msgspec.Struct, tag_field="type", tag="none", forbid_unknown_fields=True):
    disable_parallel_tool_use: Parallel | None = None


AnthropicToolChoice = AutoChoice | AnyChoice | ChosenTool | NoneChoice

_PLAIN_CHOICES: dict[type, Literal["auto", "required", "none"]] = {
    AutoChoice: "auto",
    AnyChoice: "required",
    NoneChoice: "none",
}


def chat_tool_choice(choice: AnthropicToolChoice | None) -> ToolChoiceField | None:
    """Returns the choice in the form of a chat request."""
    if isinstance(choice, ChosenTool):
        return NamedToolChoice(FunctionReference(choice.name))
    return None if choice is None else _PLAIN_CHOICES[type(choice)]


def check_anthropic_tools(tools: Sequence[AnthropicTool], choice: AnthropicToolChoice | None) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400)."""
    for index, tool in enumerate(tools):
        _check_tool(tool, f"tools[{index}]")
    if isinstance(choice, AnyChoice) and not tools:
        raise invalid("invalid_value", "tool_choice: 'any' needs tools", "tool_choice")
    functions = [tool.to_chat().function for tool in tools]
    check_functions(functions, chat_tool_choice(choice), path="tools[{}]", choice_path="tool_choice.name")


def _check_tool(tool: AnthropicTool, path: str) -> None:
    if tool.type not in (None, "custom"):
        problem = f"{path}.type: {cut(tool.type)!r} is not supported: only tools that the caller defines and runs are"
        raise invalid("unsupported_value", problem, f"{path}.type")
    if tool.input_schema is None:
        param = f"{path}.input_schema"
        raise invalid("missing_required_parameter", f"Missing required parameter: {param}", param)
    refuse_unsupported(tool, f"{path}.")
