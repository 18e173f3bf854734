"""Chat templates, and parsers of the answers to them: llama.cpp's `common` library through the shim, JSON in, JSON out."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from llmcore.errors import InvalidRequestError, NativeError
from llmcore.llama.chat_stream import ParsedChat
from llmcore.llama.ffi.library import load_library
from llmcore.llama.handle import HandleOwner
from llmcore.llama.model import Model
from llmcore.llama.tool_schema import RelaxedSchema, relax_schema
from llmcore.log import event
from llmcore.messages import ChatPrompt
from llmcore.protocol.chat_limits import check_chat_size

logger = logging.getLogger(__name__)

# Format of llama.cpp's errors in a template: the place, quoted over several lines, then the message.
_TEMPLATE_ERROR = re.compile(
    r"Unable to generate parser for this template\. Automatic parser generation failed: |"
    r"\n-+\nWhile executing \w+ at line (\d+), column (\d+) in source:\n.*\nError: (?:(Jinja Exception: ))?",
    re.DOTALL,
)

# The shim's errors begin with the field at fault; all others concern the messages.
_FIELD = re.compile(r"((?:tools\[\d+\]|chat_template_kwargs)[.\w]*|tool_name|continue_final_message): ")


class RelaxedTool(msgspec.Struct, frozen=True):
    """A tool whose arguments are only constrained to be an object, because its schema makes no grammar."""

    tool: int  # index in the list of tools
    reason: str


class RenderedChat(msgspec.Struct, frozen=True):
    """A chat as a prompt. Special tokens in the prompt are to be parsed; BOS is left out if the tokenizer adds it."""

    prompt: str
    stops: tuple[str, ...] = ()
    preserved: tuple[str, ...] = ()  # special tokens whose text the parser needs
    syntax: str = ""  # for ChatParser; empty if the answer's text is its content
    grammar: str = ""  # for Sampler.constrain; empty if the answer is not constrained
    thinking_start: str = ""
    thinking_ends: tuple[str, ...] = ()
    relaxed: tuple[RelaxedTool, ...] = ()


class ChatTemplate(HandleOwner):
    """Owns the chat template of a model, or one compiled from a Jinja source. Without a model, the source is compiled without a
    vocabulary.

    Raises InvalidRequestError if the source is not a template that llama.cpp can compile.
    """

    def __init__(self, model: Model | None, source: str | None = None) -> None:
        self._lib = load_library()
        self._name = "the chat template"
        handle = self._lib.lc_chat_new(model and model.handle, None if source is None else source.encode())
        try:
            self._lib.check_pointer(handle, "compiling the chat template")
        except NativeError as error:
            raise InvalidRequestError(_one_line(error.message), param="chat_template") from None
        self._create_handle(handle, self._lib.lc_chat_free, self._lib, parent=model)

    def render(self, prompt: ChatPrompt | Sequence[Mapping[str, Any]]) -> RenderedChat:
        """Returns the prompt of a chat: a ChatPrompt, or messages in OpenAI's form.

        Raises InvalidRequestError, naming the field, if the template refuses the messages or a tool cannot be honoured."""
        if not isinstance(prompt, ChatPrompt):
            prompt = _prompt_of(prompt)
        check_chat_size(prompt)
        request = msgspec.json.encode(self._request(prompt))
        try:
            answer = self._lib.take_string(self._lib.lc_chat_render, self.handle, request)
        except (NativeError, InvalidRequestError) as error:
            raise _refusal(error.message) from None
        return msgspec.json.decode(answer, type=RenderedChat)

    def _request(self, prompt: ChatPrompt) -> dict[str, Any]:
        request: dict[str, Any] = {
            "messages": msgspec.Raw(prompt.messages),
            "add_generation_prompt": prompt.add_generation_prompt,
            "continue_final_message": prompt.continue_final_message,
        }
        if prompt.tools:
            request["tools"] = msgspec.Raw(prompt.tools)
            if prompt.tool_choice != "none":
                self._relax_tools(request, _tools(prompt.tools))
            request["tool_choice"] = prompt.tool_choice
            request["tool_name"] = prompt.tool_name
            # With a named function, the answer is one call of it.
            request["parallel_tool_calls"] = prompt.parallel_tool_calls and not prompt.tool_name
        arguments = _object(prompt.template_args) | self._effort(prompt.reasoning_effort)
        if arguments:
            request["chat_template_kwargs"] = arguments
        return request

    def _relax_tools(self, request: dict[str, Any], tools: list[dict[str, Any]]) -> None:
        """Adds "held_tools" to the request if a schema has keywords that grammars do not enforce: the tools without them. Raises
        InvalidRequestError if such a tool is strict."""
        relaxed_tools = []
        for index, tool in enumerate(tools):
            function = tool["function"]
            relaxed = relax_schema(function.get("parameters") or {})
            if relaxed.left_out:
                _report_left_out(index, function, relaxed)
            relaxed_tools.append({**tool, "function": {**function, "parameters": relaxed.schema}})
        if relaxed_tools != tools:
            request["held_tools"] = relaxed_tools

    def _effort(self, effort: str) -> dict[str, Any]:
        if effort in ("", "none"):
            return {"enable_thinking": False} if effort else {}
        if not self.capabilities.get("supports_reasoning_effort"):
            raise InvalidRequestError(
                f"the model's chat template does not support a reasoning effort: leave it out, or send 'none' (got {effort!r})",
                param="reasoning_effort",
            )
        return {"reasoning_effort": effort}

    @cached_property
    def capabilities(self) -> dict[str, bool]:
        """Capabilities of the template that llama.cpp detected, for example `supports_tools`."""
        found: dict[str, bool] = self.describe()["caps"]
        return found

    def describe(self) -> dict[str, Any]:
        """Returns the template's Jinja source, its capabilities, and whether it is the model's own."""
        described: dict[str, Any] = msgspec.json.decode(self._lib.take_string(self._lib.lc_chat_describe, self.handle))
        return described


class RefusedTemplate(ChatTemplate):
    """A model's own template that cannot be used: render() raises its problem."""

    def __init__(self, problem: str) -> None:
        self._name = "the chat template"
        self.problem = problem

    def render(self, prompt: ChatPrompt | Sequence[Mapping[str, Any]]) -> RenderedChat:
        """Raises InvalidRequestError."""
        raise InvalidRequestError(
            f"the model's chat template cannot be used: {self.problem}. The operator may give another one (--chat-template)",
            param="messages",
        )

    def describe(self) -> dict[str, Any]:
        return {"source": "", "caps": {}, "explicit": False, "knows_tools": False}


class ChatParser(HandleOwner):
    """Parses answers to one rendered prompt."""

    def __init__(self, syntax: str) -> None:
        self._lib = load_library()
        self._name = "the chat parser"
        handle = self._lib.lc_chat_parser_new(syntax.encode())
        self._create_handle(
            self._lib.check_pointer(handle, "making a chat parser"), self._lib.lc_chat_parser_free, self._lib
        )

    def parse(self, text: str, *, is_partial: bool) -> ParsedChat:
        """Returns the content, reasoning and tool calls of an answer's text so far. Raises NativeError if the text does not
        have the template's form."""
        # A NUL would end the text for C.
        answer = self._lib.take_string(
            self._lib.lc_chat_parse, self.handle, text.replace("\0", "\ufffd").encode(), is_partial
        )
        return msgspec.json.decode(answer, type=ParsedChat)


def _prompt_of(messages: Sequence[Mapping[str, Any]]) -> ChatPrompt:
    if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
        problem = f"a chat is a ChatPrompt or a list of messages, got {type(messages).__name__}"
        raise InvalidRequestError(problem, param="messages")
    try:
        return ChatPrompt(msgspec.json.encode(list(messages)))
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"messages cannot be written as JSON: {error}", param="messages") from None


def _report_left_out(index: int, function: dict[str, Any], relaxed: RelaxedSchema) -> None:
    path, keyword = relaxed.left_out[0]
    if function.get("strict"):
        where = f"tools[{index}].function.parameters"
        message = (
            f"{where}: {function.get('name')!r} is strict, and at {path} the keyword {keyword!r} cannot be honoured"
        )
        raise InvalidRequestError(message, param=where)
    for path, keyword in relaxed.left_out:
        event(logger, logging.INFO, "tool_schema_relaxed", tool=index, path=path, keyword=keyword)


def _refusal(message: str) -> InvalidRequestError:
    if named := _FIELD.match(message):
        return InvalidRequestError(message, param=named[1])
    problem = f"the chat template cannot render these messages: {_one_line(message)}"
    return InvalidRequestError(problem, param="messages")


def _one_line(message: str) -> str:
    """Returns llama.cpp's error without the quoted source. Messages that a template itself raises are returned unchanged."""
    return _TEMPLATE_ERROR.sub(
        lambda found: f"line {found[1]}, column {found[2]}: " if found[1] and not found[3] else "", message
    )


def _tools(source: bytes) -> list[dict[str, Any]]:
    try:
        tools = msgspec.json.decode(source, type=list[dict[str, Any]])
    except msgspec.DecodeError:
        raise InvalidRequestError("tools must be a JSON array of objects", param="tools") from None
    for index, tool in enumerate(tools):
        if not isinstance(tool.get("function"), dict):
            problem = f"tools[{index}].function: must be an object"
            raise InvalidRequestError(problem, param=f"tools[{index}].function")
    return tools


def _object(source: bytes) -> dict[str, Any]:
    if not source:
        return {}
    try:
        found: dict[str, Any] = msgspec.json.decode(source, type=dict)
    except msgspec.DecodeError:
        raise InvalidRequestError("chat_template_kwargs must be a JSON object", param="chat_template_kwargs") from None
    return found
