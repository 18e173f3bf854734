"""Chat templates, and what the answers to them say, by llama.cpp's own `common` library through the shim: JSON in, JSON out."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

import msgspec

from llmcore import ffi
from llmcore.chatstream import ParsedChat
from llmcore.errors import InvalidRequestError, NativeError
from llmcore.handle import Owner
from llmcore.log import event
from llmcore.messages import ChatPrompt
from llmcore.model import Model
from llmcore.toolschema import Held, hold

logger = logging.getLogger(__name__)


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


class ChatTemplate(Owner):
    """Owns the chat template of a model, or a Jinja source given instead. The model must outlive it.

    Raises InvalidRequestError if the source is not a template that llama.cpp can compile.
    """

    def __init__(self, model: Model, source: str | None = None) -> None:
        self._lib = ffi.library()
        self._what = "the chat template"
        handle = self._lib.lc_chat_new(model.handle, None if source is None else source.encode())
        try:
            self._handle = self._lib.check_pointer(handle, "compiling the chat template")
        except NativeError as error:
            raise InvalidRequestError(error.message, param="chat_template") from None

    def _free(self, handle: int) -> None:
        self._lib.lc_chat_free(handle)

    def render(self, prompt: ChatPrompt) -> RenderedChat:
        """Raises InvalidRequestError, naming the field, if the template refuses the messages or a tool cannot be honoured."""
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
                self._hold_tools(request, msgspec.json.decode(prompt.tools))
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
            held = hold(function.get("parameters") or {})
            if held.left_out:
                _tell_left_out(index, function, held)
            held_tools.append({**tool, "function": {**function, "parameters": held.schema}})
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


class ChatParser(Owner):
    """Reads the answers to one rendered prompt."""

    def __init__(self, syntax: str) -> None:
        self._lib = ffi.library()
        self._what = "the chat parser"
        handle = self._lib.lc_chat_parser_new(syntax.encode())
        self._handle = self._lib.check_pointer(handle, "making a chat parser")

    def _free(self, handle: int) -> None:
        self._lib.lc_chat_parser_free(handle)

    def parse(self, text: str, *, is_partial: bool) -> ParsedChat:
        """What all of the answer's text says so far. Raises NativeError if it does not have the template's form."""
        # A NUL would end the text for C.
        answer = self._lib.take_string(
            self._lib.lc_chat_parse, self.handle, text.replace("\0", "\ufffd").encode(), is_partial
        )
        return msgspec.json.decode(answer, type=ParsedChat)


def _tell_left_out(index: int, function: dict[str, Any], held: Held) -> None:
    path, keyword = held.left_out[0]
    if function.get("strict"):
        where = f"tools[{index}].function.parameters"
        message = (
            f"{where}: {function.get('name')!r} is strict, and at {path} the keyword {keyword!r} cannot be honoured"
        )
        raise InvalidRequestError(message, param=where)
    for path, keyword in held.left_out:
        event(logger, logging.INFO, "tool_schema_relaxed", tool=index, path=path, keyword=keyword)


def _refusal(message: str) -> InvalidRequestError:
    if message.startswith("tools["):
        return InvalidRequestError(message, param=message.partition(":")[0])
    return InvalidRequestError(f"the chat template cannot render these messages: {message}", param="messages")


def _object(source: bytes) -> dict[str, Any]:
    if not source:
        return {}
    try:
        found: dict[str, Any] = msgspec.json.decode(source, type=dict)
    except msgspec.DecodeError:
        raise InvalidRequestError("chat_template_kwargs must be a JSON object", param="chat_template_kwargs") from None
    return found
