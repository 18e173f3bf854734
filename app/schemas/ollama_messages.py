"""Messages and tools in Ollama's requests, and the same as those of /v1/chat/completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ..http.errors import invalid
from .messages import AssistantMessage, DeveloperMessage, Message, SystemMessage, ToolMessage, UserMessage
from .raw_json import is_absent, raw_field, raw_text
from .tools import CalledFunction, FunctionDefinition, FunctionName, FunctionTool, SentToolCall

Images = Annotated[list[Any], Meta(max_length=0, description="not supported")]


class OllamaFunctionCall(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    arguments: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": ["object", "null"]})] = raw_field()
    index: Annotated[int, Meta(description="accepted without effect: calls are in order")] | None = None


class OllamaToolCall(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A tool call in an assistant message that a client sends back. Older clients send no id."""

    function: OllamaFunctionCall
    id: str | None = None
    type: Literal["function"] | None = None


class OllamaMessage(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | None = None
    thinking: Annotated[str, Meta(description="for templates that show it")] | None = None
    images: Images | None = None
    tool_calls: list[OllamaToolCall] | None = None
    tool_name: Annotated[str, Meta(description="the function that a tool message is the result of")] | None = None
    tool_call_id: str | None = None


class OllamaFunction(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: FunctionName
    description: str | None = None
    parameters: Annotated[dict[str, Any], Meta(description="a JSON schema")] | None = None


class OllamaTool(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    function: OllamaFunction
    type: Literal["function"] | None = None

    def to_chat(self) -> FunctionTool:
        """Returns the tool in the form of a chat request."""
        function = self.function
        return FunctionTool(
            function=FunctionDefinition(
                name=function.name, description=function.description, parameters=function.parameters
            )
        )


def chat_messages(messages: Sequence[OllamaMessage]) -> list[Message]:
    """Returns the messages in the form of a chat request. Raises ApiError (400).

    In Ollama's API a result names its call by an id, by the name of the function, or not at all. A result without an id belongs
    to the first call without a result that has its name, or to the first of all if it has no name. A result without a call is
    left to the chat template, which may refuse it.
    """
    open_calls: list[SentToolCall] = []  # calls without a result
    found: list[Message] = []
    for index, message in enumerate(messages):
        if message.role == "assistant":
            calls = [_sent_call(call, f"messages[{index}].tool_calls[{i}]") for i, call in _numbered(message)]
            open_calls += calls
            found.append(AssistantMessage(message.content or "", calls or None, message.thinking or None))
        elif message.role == "tool":
            found.append(_tool_message(message, open_calls))
        else:
            found.append(_PLAIN[message.role](message.content or ""))
    return found


_PLAIN: dict[str, type[SystemMessage] | type[DeveloperMessage] | type[UserMessage]] = {
    "system": SystemMessage,
    "developer": DeveloperMessage,
    "user": UserMessage,
}


def _numbered(message: OllamaMessage) -> enumerate[OllamaToolCall]:
    return enumerate(message.tool_calls or ())


def _sent_call(call: OllamaToolCall, path: str) -> SentToolCall:
    """Returns the call with its arguments as text. Raises ApiError (400) if they are not an object."""
    field = f"{path}.function.arguments"
    given = call.function.arguments
    arguments = "{}" if is_absent(given) else raw_text(given, field)
    if not arguments.startswith("{"):
        raise invalid("invalid_type", f"Invalid {field}: Expected `object`", field)
    identifier = call.id or path.replace("messages[", "call_").replace("].tool_calls[", "_").removesuffix("]")
    return SentToolCall(id=identifier, function=CalledFunction(call.function.name, arguments))


def _tool_message(result: OllamaMessage, open_calls: list[SentToolCall]) -> ToolMessage:
    """Returns the result with the id of the call that it belongs to, and removes the call from `open_calls`."""
    content = result.content or ""
    for call in open_calls:
        is_named = result.tool_name in (None, "", call.function.name)
        if call.id == result.tool_call_id or (not result.tool_call_id and is_named):
            open_calls.remove(call)
            return ToolMessage(content, call.id)
    return ToolMessage(content, result.tool_call_id or None, result.tool_name or None)
