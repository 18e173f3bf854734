"""Chat templates, and what the answers to them say, by llama.cpp's own `common` library through the shim: JSON in, JSON out."""

from __future__ import annotations

import logging
import re
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

# How llama.cpp tells what went wrong in a template: it quotes the place over several lines, and says what it was at the end.
_COMPLAINT = re.compile(
    r"Unable to generate parser for this template\. Automatic parser generation failed: |"
    r"\n-+\nWhile executing \w+ at line (\d+), column (\d+) in source:\n.*\nError: (?:(Jinja Exception: ))?",
    re.DOTALL,
)

# How the shim begins what it says of a field; all else that it refuses is the messages'.
_FIELD = re.compile(r"((?:tools\[\d+\]|chat_template_kwargs)[.\w]*|tool_name|continue_final_message): ")


class RelaxedTool(msgspec.Struct, frozen=True):
    """A tool whose arguments are held to being an object alone, since its schema makes no grammar."""

    tool: int  # its place in the list
    reason: str


class RenderedChat(msgspec.Struct, frozen=True):
    """What a template makes of messages. The prompt is text in which special tokens are to be parsed; its BOS is left out
    where the tokenizer adds one."""

    prompt: str
    stops: tuple[str, ...] = ()
    preserved: tuple[str, ...] = ()  # special tokens whose text the parser must see
    syntax: str = ""  # for ChatParser; empty where the answer's text is its content
    grammar: str = ""  # for Sampler.hold; empty where nothing holds the answer
    thinking_start: str = ""
    thinking_ends: tuple[str, ...] = ()
    relaxed: tuple[RelaxedTool, ...] = ()


class ChatTemplate(HandleOwner):
    """Owns the chat template of a model, or a Jinja source given instead. Without a model, a source is compiled for no
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

    def render(self, prompt: ChatPrompt) -> RenderedChat:
        """Raises InvalidRequestError, naming the field, if the template refuses the messages or a tool cannot be honoured."""
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
                self._hold_tools(request, _tools(prompt.tools))
            request["tool_choice"] = prompt.tool_choice
            request["tool_name"] = prompt.tool_name
            # Who names a function wants one call of it.
            request["parallel_tool_calls"] = prompt.parallel_tool_calls and not prompt.tool_name
        arguments = _object(prompt.template_args) | self._effort(prompt.reasoning_effort)
        if arguments:
            request["chat_template_kwargs"] = arguments
        return request

    def _hold_tools(self, request: dict[str, Any], tools: list[dict[str, Any]]) -> None:
        """Where a schema asks for more than a grammar can hold: "held_tools". InvalidRequestError for a strict tool."""
        held_tools = []
        for index, tool in enumerate(tools):
            function = tool["function"]
            relaxed = relax_schema(function.get("parameters") or {})
            if relaxed.left_out:
                _tell_left_out(index, function, relaxed)
            held_tools.append({**tool, "function": {**function, "parameters": relaxed.schema}})
        if held_tools != tools:
            request["held_tools"] = held_tools

    def _effort(self, effort: str) -> dict[str, Any]:
        if effort in ("", "none"):
            return {"enable_thinking": False} if effort else {}
        if not self.capabilities.get("supports_reasoning_effort"):
            raise InvalidRequestError(
                f"the model's chat template knows no reasoning effort: leave it out, or send 'none' (got {effort!r})",
                param="reasoning_effort",
            )
        return {"reasoning_effort": effort}

    @cached_property
    def capabilities(self) -> dict[str, bool]:
        """What llama.cpp found out about the template: `supports_tools` and the like."""
        found: dict[str, bool] = self.describe()["caps"]
        return found

    def describe(self) -> dict[str, Any]:
        """The template's Jinja source, what it can do, and whether the model carries it."""
        described: dict[str, Any] = msgspec.json.decode(self._lib.take_string(self._lib.lc_chat_describe, self.handle))
        return described


class RefusedTemplate(ChatTemplate):
    """Stands for a model's own template that is of no use."""

    def __init__(self, problem: str) -> None:
        self._name = "the chat template"
        self.problem = problem

    def render(self, prompt: ChatPrompt) -> RenderedChat:
        """Raises InvalidRequestError."""
        raise InvalidRequestError(
            f"the model's chat template cannot be used: {self.problem}. The operator may give another one (--chat-template)",
            param="messages",
        )

    def describe(self) -> dict[str, Any]:
        return {"source": "", "caps": {}, "explicit": False, "knows_tools": False}


class ChatParser(HandleOwner):
    """Reads the answers to one rendered prompt."""

    def __init__(self, syntax: str) -> None:
        self._lib = load_library()
        self._name = "the chat parser"
        handle = self._lib.lc_chat_parser_new(syntax.encode())
        self._create_handle(
            self._lib.check_pointer(handle, "making a chat parser"), self._lib.lc_chat_parser_free, self._lib
        )

    def parse(self, text: str, *, is_partial: bool) -> ParsedChat:
        """What all of the answer's text says so far. Raises NativeError if it does not have the template's form."""
        # A NUL would end the text for C.
        answer = self._lib.take_string(
            self._lib.lc_chat_parse, self.handle, text.replace("\0", "\ufffd").encode(), is_partial
        )
        return msgspec.json.decode(answer, type=ParsedChat)


def _tell_left_out(index: int, function: dict[str, Any], relaxed: RelaxedSchema) -> None:
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
    """llama.cpp's complaint without the quoted source. What a template itself raises is meant to be read as it stands."""
    return _COMPLAINT.sub(
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
