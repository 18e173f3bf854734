"""Prompts made of arguments, and checked: texts, token ids, messages in OpenAI's form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmcore.errors import InvalidRequestError
from llmcore.library.checks import sequence_argument, text, text_or_tokens, truth
from llmcore.library.options import ChatOptions, GenerateOptions, PromptOptions
from llmcore.library.other_names import unknown_argument
from llmcore.library.tool_choice import choose_tools
from llmcore.messages import ChatPrompt, Prompt, TextPrompt, TokensPrompt
from llmcore.values import plain_value, wrong_value

# A message, as error messages show one; methods of objects that become messages: of answers, and of client libraries.
_MESSAGE = '{"role": "user", "content": "Hello!"}'
_MESSAGE_METHODS = ("to_message", "model_dump")


def generate_prompt(prompt: Any, options: dict[str, Any]) -> Prompt:
    """Makes a prompt of a text or of token ids, and of the options that concern it, which are removed from `options`. Raises
    InvalidRequestError, naming the argument."""
    for name in sorted(ChatOptions.__annotations__.keys() - GenerateOptions.__annotations__.keys()):
        if name in options:
            raise InvalidRequestError(f"{name} is an argument of chat(), not of generate()", param=name)
    suffix = text(options.pop("suffix", None) or "", "suffix")
    given = text_or_tokens(prompt, "prompt")
    if isinstance(given, str):
        return TextPrompt(given, suffix)
    if suffix:
        raise InvalidRequestError("suffix needs a prompt that is a text", param="suffix")
    return TokensPrompt(given)


def chat_prompt(messages: Sequence[Any], options: dict[str, Any]) -> ChatPrompt:
    """Makes a prompt of messages and of the options that concern it, which are removed from `options`. Raises
    InvalidRequestError, naming the argument."""
    if "suffix" in options:
        raise InvalidRequestError("suffix is an argument of generate(), not of chat()", param="suffix")
    listed = sequence_argument(messages, "messages", f"a sequence of messages such as {_MESSAGE}")
    if not listed:
        raise InvalidRequestError("messages must not be empty", param="messages")
    for index, message in enumerate(listed):
        _check_message(message, f"messages[{index}]")
    tools = options.pop("tools", None)
    given = () if tools is None else sequence_argument(tools, "tools", "a sequence of tools")
    chosen = choose_tools(json.loads(_json(given, "tools")), options.pop("tool_choice", None))
    continues = truth(options.pop("continue_final_message", False), "continue_final_message")
    return ChatPrompt(
        _json(listed, "messages"),
        add_generation_prompt=not continues,
        continue_final_message=continues,
        tools=_json(chosen.tools, "tools") if chosen.tools else b"",
        tool_choice=chosen.choice,
        tool_name=chosen.name,
        parallel_tool_calls=truth(options.pop("parallel_tool_calls", True), "parallel_tool_calls"),
        template_args=_template_args(options.pop("chat_template_kwargs", None)),
        reasoning_effort=text(options.pop("reasoning_effort", None) or "", "reasoning_effort"),
    )


def _check_message(message: Any, name: str) -> None:
    """Raises InvalidRequestError for what is neither a mapping with a role nor an object that becomes a message."""
    if not isinstance(message, Mapping):
        if isinstance(message, type) or not any(hasattr(message, method) for method in _MESSAGE_METHODS):
            raise wrong_value(name, f"a message such as {_MESSAGE}", message)
    elif not isinstance(role := message.get("role"), str):
        problem = "has no role" if role is None else f"has a role that is no text: {role!r}"
        raise InvalidRequestError(f"{name} {problem}", param=name)


def any_prompt(prompt: Any, options: dict[str, Any]) -> Prompt:
    """Makes a prompt of a text, of token ids, or of messages. `options` concern messages. Raises InvalidRequestError, naming the
    argument."""
    first = next(iter(prompt), None) if isinstance(prompt, (list, tuple)) else None
    is_chat = first is not None and not isinstance(plain_value(first), int)
    found = chat_prompt(prompt, options) if is_chat else generate_prompt(prompt, options)
    refuse_others(options, PromptOptions.__annotations__)
    return found


def refuse_others(options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raises InvalidRequestError if keyword arguments are left."""
    for name in options:
        raise unknown_argument(name, known, "argument")


def _template_args(value: Any) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, Mapping):
        raise wrong_value("chat_template_kwargs", "a mapping", value)
    return _json(dict(value), "chat_template_kwargs") if value else b""


def _json(value: Any, name: str) -> bytes:
    try:
        return json.dumps(value, default=_message).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{name} cannot be written as JSON: {error}", param=name) from None


def _message(value: Any) -> Any:
    """Returns the plain form of an object among messages or tools: an answer of ours, a message of a client library, a number of
    numpy. Raises TypeError for anything else."""
    for method in (*_MESSAGE_METHODS, "tolist"):
        convert = getattr(value, method, None)
        if callable(convert) and not isinstance(value, type):
            return convert()
    raise TypeError(f"a value of type {type(value).__name__}")
