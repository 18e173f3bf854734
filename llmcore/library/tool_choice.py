"""The argument tool_choice: whether the model calls functions, and which of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmcore.errors import InvalidRequestError
from llmcore.library.checks import sequence_argument
from llmcore.messages import ToolChoice

_CHOICES: tuple[ToolChoice, ...] = ("auto", "none", "required")
_FORMS = (
    '"auto", "none", "required", {"type": "function", "function": {"name": …}} or '
    '{"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": […]}}'
)


@dataclass(frozen=True)
class ChosenTools:
    """Tools that the model is shown. `name` is the only function that it may call, with "required"; "" leaves that to it."""

    tools: Sequence[Any]
    choice: ToolChoice = "auto"
    name: str = ""


def choose_tools(tools: Sequence[Any], given: Any) -> ChosenTools:
    """Reads tool_choice in OpenAI's form. `tools` are plain values. Raises InvalidRequestError."""
    if given is None or given == "auto" or given == "none":
        return ChosenTools(tools, given or "auto")
    if not tools:
        raise _error("tool_choice needs tools")
    if given == "required":
        return ChosenTools(tools, "required")
    if not isinstance(given, Mapping):
        raise _error(f"tool_choice must be {_FORMS}, got {given!r}")
    if given.get("type") == "allowed_tools":
        return _allowed(tools, given.get("allowed_tools"))
    name = _known_name(given, tools)
    return ChosenTools(tools, "required", name)


def _allowed(tools: Sequence[Any], allowed: Any) -> ChosenTools:
    """Leaves the tools that may be called."""
    mode = allowed.get("mode") if isinstance(allowed, Mapping) else None
    if mode not in ("auto", "required"):
        raise _error(f"tool_choice must be {_FORMS}, with the mode auto or required")
    choice = _CHOICES[_CHOICES.index(mode)]
    listed = sequence_argument(allowed.get("tools"), "tool_choice.allowed_tools.tools", "a sequence of tools")
    names = {_known_name(each, tools) for each in listed}
    return ChosenTools([tool for tool in tools if _name(tool) in names], choice)


def _known_name(reference: Any, tools: Sequence[Any]) -> str:
    name = _name(reference)
    if name is None:
        raise _error(f"tool_choice must be {_FORMS}")
    known = [each for each in map(_name, tools) if each is not None]
    if name not in known:
        raise _error(f"tool_choice names {name!r}, which is not among tools: {', '.join(known)}")
    return name


def _name(tool: Any) -> str | None:
    """Name of a function in a tool or a choice, None if there is none."""
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def _error(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, param="tool_choice")
