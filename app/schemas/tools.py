"""Tools in requests: functions that the model may call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from llmcore.messages import ToolChoice
from llmcore.protocol.chat_limits import DEPTH_MAX, N_TOOLS_MAX
from llmcore.protocol.json_schema import levels

from ..http.errors import invalid
from .unsupported_fields import Hint, Parsed

# Values of one schema: compiling a larger one would delay all other requests.
MAX_NODES = 5000

FunctionName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]


class FunctionDefinition(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: FunctionName
    description: str | None = None
    parameters: (
        Annotated[dict[str, Any], Meta(description="a JSON schema; without one, the function takes nothing")] | None
    ) = None
    strict: (
        Annotated[bool, Meta(description="refuse a schema that cannot be honoured in whole; else it is relaxed")] | None
    ) = None


class FunctionTool(msgspec.Struct, tag_field="type", tag="function", kw_only=True, forbid_unknown_fields=True):
    function: FunctionDefinition
    cache_control: Hint = None


class FunctionReference(msgspec.Struct, forbid_unknown_fields=True):
    name: FunctionName


class NamedToolChoice(msgspec.Struct, tag_field="type", tag="function", forbid_unknown_fields=True):
    function: FunctionReference


class AllowedTools(msgspec.Struct, forbid_unknown_fields=True):
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedToolChoice], Meta(min_length=1, max_length=N_TOOLS_MAX)]


class AllowedToolChoice(msgspec.Struct, tag_field="type", tag="allowed_tools", forbid_unknown_fields=True):
    """Functions of the request that may be called. The prompt has no others."""

    allowed_tools: AllowedTools


ToolChoiceField = ToolChoice | NamedToolChoice | AllowedToolChoice
Tools = Annotated[list[FunctionTool], Meta(max_length=N_TOOLS_MAX)]


class CalledFunction(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: Annotated[str, Meta(description="JSON")]
    parsed_arguments: Parsed = None


class SentToolCall(msgspec.Struct, tag_field="type", tag="function", kw_only=True, forbid_unknown_fields=True):
    """A tool call in an assistant message that a client sends back."""

    id: Annotated[str, Meta(min_length=1)]
    function: CalledFunction
    index: Annotated[int, Meta(description="accepted without effect: its place in a stream")] | None = None


def check_tools(tools: list[FunctionTool] | None, choice: ToolChoiceField | None) -> None:
    """Checks rules that the types cannot express. Raises ApiError (400)."""
    check_functions([tool.function for tool in tools or ()], choice)


def check_functions(
    functions: Sequence[FunctionDefinition],
    choice: ToolChoiceField | None,
    *,
    path: str = "tools[{}].function",
    choice_path: str = "tool_choice.function.name",
    allowed_path: str = "tool_choice.allowed_tools.tools[{}].function.name",
) -> None:
    """Checks the functions of any endpoint. The paths are their places and those of chosen names. Raises ApiError (400)."""
    names: set[str] = set()
    for index, function in enumerate(functions):
        where = path.format(index)
        if function.name in names:
            raise invalid("invalid_value", f"{where}.name: {function.name!r} is defined twice", f"{where}.name")
        names.add(function.name)
        check_size(function.parameters, f"{where}.parameters")
    for name, where in _chosen_names(choice, choice_path, allowed_path):
        if name not in names:
            raise invalid("invalid_value", f"tool_choice names {name!r}, which is not among the tools", where)
    if choice == "required" and not names:
        raise invalid("invalid_value", "tool_choice is 'required', but there are no tools", "tool_choice")


def _chosen_names(choice: ToolChoiceField | None, choice_path: str, allowed_path: str) -> list[tuple[str, str]]:
    """Returns each name in the choice, with its place in the body."""
    if isinstance(choice, NamedToolChoice):
        return [(choice.function.name, choice_path)]
    if isinstance(choice, AllowedToolChoice):
        allowed = choice.allowed_tools.tools
        return [(tool.function.name, allowed_path.format(index)) for index, tool in enumerate(allowed)]
    return []


def check_size(schema: object, path: str) -> None:
    """Raises ApiError (400) for a schema that is too deep or too large."""
    n = 0
    for depth, level in enumerate(levels(schema), 1):
        n += len(level)
        if depth > DEPTH_MAX or n > MAX_NODES:
            problem = f"{path}: a schema may be {DEPTH_MAX} levels deep and have {MAX_NODES} values"
            raise invalid("invalid_value", problem, path)


def allowed_tools(tools: list[FunctionTool] | None, choice: ToolChoiceField | None) -> list[FunctionTool] | None:
    """Returns the tools that the prompt has: all of them, or those that the choice allows."""
    if tools is None or not isinstance(choice, AllowedToolChoice):
        return tools
    names = {tool.function.name for tool in choice.allowed_tools.tools}
    return [tool for tool in tools if tool.function.name in names]


def template_tools(tools: list[FunctionTool] | None) -> bytes:
    """Returns the tools as JSON for the chat template, without the fields that were not sent."""
    return msgspec.json.encode([_template_tool(tool.function) for tool in tools]) if tools else b""


def _template_tool(function: FunctionDefinition) -> dict[str, Any]:
    given = {name: value for name, value in msgspec.structs.asdict(function).items() if value is not None}
    return {"type": "function", "function": given}


def split_tool_choice(choice: ToolChoiceField | None) -> tuple[ToolChoice, str]:
    """Returns the choice as one of "auto", "required" and "none", and the name of the function if one must be called."""
    if isinstance(choice, NamedToolChoice):
        return "required", choice.function.name
    if isinstance(choice, AllowedToolChoice):
        return choice.allowed_tools.mode, ""
    return choice or "auto", ""
