"""Arguments of the library, named as in OpenAI's API, made into prompts and checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from llmcore.errors import InvalidRequestError
from llmcore.messages import ChatPrompt, ToolChoice

T = TypeVar("T")

_CHOICES: tuple[ToolChoice, ...] = ("auto", "none", "required")


def chat_prompt(messages: Sequence[Mapping[str, Any]], options: dict[str, Any]) -> ChatPrompt:
    """Makes a prompt of messages and of the `options` that concern it, which are removed from `options`. Raises
    InvalidRequestError, naming the argument."""
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
        raise InvalidRequestError(f"messages must be a sequence, got {type(messages).__name__}", param="messages")
    if not messages:
        raise InvalidRequestError("messages must not be empty", param="messages")
    choice, name = _choice(options.pop("tool_choice", None))
    continues = bool(options.pop("continue_final_message", False))
    tools, arguments = options.pop("tools", None), options.pop("chat_template_kwargs", None)
    return ChatPrompt(
        _json(list(messages), "messages"),
        add_generation_prompt=not continues,
        continue_final_message=continues,
        tools=_json(tools, "tools") if tools else b"",
        tool_choice=choice,
        tool_name=name,
        parallel_tool_calls=bool(options.pop("parallel_tool_calls", True)),
        template_args=_json(arguments, "chat_template_kwargs") if arguments else b"",
        reasoning_effort=str(options.pop("reasoning_effort", None) or ""),
    )


def _choice(given: Any) -> tuple[ToolChoice, str]:
    if given is None:
        return "auto", ""
    for choice in _CHOICES:
        if given == choice:
            return choice, ""
    function = given.get("function") if isinstance(given, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        message = 'tool_choice must be "auto", "none", "required" or {"type": "function", "function": {"name": …}}'
        raise InvalidRequestError(message, param="tool_choice")
    return "required", name


def _json(value: Any, name: str) -> bytes:
    try:
        return json.dumps(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{name} cannot be written as JSON: {error}", param=name) from None


def argument_name(param: str | None, constraint: str) -> str | None:
    """Name of the argument for a field of GenerateRequest at fault. `constraint` is the argument that gave the constraint."""
    if param == "n_logprobs":
        return "logprobs"
    name, dot, path = (param or "").partition(".")
    return f"{constraint}{dot}{path}" if name == "constraint" else param


def sequence_argument(values: Iterable[T], name: str) -> tuple[T, ...]:
    """Returns the values of an argument. Raises InvalidRequestError, naming the argument, if it is no sequence."""
    try:
        return tuple(values)
    except TypeError:
        raise InvalidRequestError(f"{name} must be a sequence, got {type(values).__name__}", param=name) from None
