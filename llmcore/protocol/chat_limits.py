"""Limits on the structured parts of a chat: tools, template variables, arguments of earlier calls. Pure.

Rendering takes more than linear time in them: llama.cpp finds a key by a linear search, and writes one grammar rule for each
suffix of a list of optional properties. Text is not limited here; it costs linear time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from llmcore.errors import InvalidRequestError
from llmcore.messages import ChatPrompt
from llmcore.protocol.json_schema import levels

N_TOOLS_MAX = 128
# Keys of one object: of JSON Schema's `properties`, and of any other.
N_PROPERTIES_MAX = 256
N_KEYS_MAX = 1000
# Properties of all schemas together.
N_ALL_PROPERTIES_MAX = 1024
N_VALUES_MAX = 10_000
DEPTH_MAX = 32
# Variables of the template: each one is copied into each scope of the template.
N_VARIABLES_MAX = 64
VARIABLES_BYTES_MAX = 64 * 1024


@dataclass
class _Count:
    """Counts the values and properties below one field."""

    field: str
    n_values: int = 0
    n_properties: int = 0

    def add(self, value: Any, path: str) -> None:
        """Adds a value and what it contains. Raises InvalidRequestError, naming the field, if a limit is exceeded."""
        for depth, level in enumerate(levels(value), 1):
            self.n_values += len(level)
            for key, each in level:
                if isinstance(each, dict):
                    self._add_object(each, path, is_schema=key == "properties")
            self._check(depth, DEPTH_MAX, path, "levels deep")
            self._check(self.n_values, N_VALUES_MAX, self.field, "values in all")

    def _add_object(self, value: dict[str, Any], path: str, *, is_schema: bool) -> None:
        self._check(len(value), N_KEYS_MAX, path, "keys in one object")
        if is_schema:
            self._check(len(value), N_PROPERTIES_MAX, path, "properties in one object")
            self.n_properties += len(value)
            self._check(self.n_properties, N_ALL_PROPERTIES_MAX, self.field, "properties in all")

    def _check(self, n: int, limit: int, path: str, of: str) -> None:
        if n > limit:
            raise InvalidRequestError(f"{path}: too large: at most {limit} {of}, got at least {n}", param=path)


def check_chat_size(prompt: ChatPrompt) -> None:
    """Raises InvalidRequestError, naming the field. Text that is no JSON passes: rendering refuses it."""
    if prompt.tools:
        _check_tools(_decoded(prompt.tools))
    if prompt.template_args:
        _check_variables(prompt.template_args)
    if b'"tool_calls"' in prompt.messages:
        _check_calls(_decoded(prompt.messages))


def _check_tools(tools: Any) -> None:
    if not isinstance(tools, list):
        return
    if len(tools) > N_TOOLS_MAX:
        raise InvalidRequestError(f"tools: at most {N_TOOLS_MAX}, got {len(tools)}", param="tools")
    count = _Count("tools")
    for index, tool in enumerate(tools):
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict):
            count.add(function.get("parameters"), f"tools[{index}].function.parameters")
            tool = {**tool, "function": {**function, "parameters": None}}
        count.add(tool, f"tools[{index}]")


def _check_variables(source: bytes) -> None:
    field = "chat_template_kwargs"
    if len(source) > VARIABLES_BYTES_MAX:
        message = f"{field}: too large: at most {VARIABLES_BYTES_MAX} bytes, got {len(source)}"
        raise InvalidRequestError(message, param=field)
    variables = _decoded(source)
    if isinstance(variables, dict) and len(variables) > N_VARIABLES_MAX:
        message = f"{field}: too large: at most {N_VARIABLES_MAX} variables, got {len(variables)}"
        raise InvalidRequestError(message, param=field)
    _Count(field).add(variables, field)


def _check_calls(messages: Any) -> None:
    """Checks the arguments of earlier calls, which templates get as objects."""
    count = _Count("messages")
    for index, message in enumerate(messages if isinstance(messages, list) else []):
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        for number, call in enumerate(calls if isinstance(calls, list) else []):
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            if isinstance(arguments, str):
                arguments = _decoded(arguments)
            count.add(arguments, f"messages[{index}].tool_calls[{number}].function.arguments")


def _decoded(source: bytes | str) -> Any:
    try:
        return msgspec.json.decode(source)
    except (msgspec.DecodeError, UnicodeError):
        return None
    except RecursionError:
        raise InvalidRequestError(f"nested too deeply: at most {DEPTH_MAX} levels", param="messages") from None
