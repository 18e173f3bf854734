"""Chat templates, and parsers of the answers to them: llama.cpp's `common` library through the shim, JSON in, JSON out."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from msgspec import structs

from llmcore.errors import InvalidRequestError, NativeError
from llmcore.llama.chat_stream import ParsedChat
from llmcore.llama.ffi.arrays import Int32Array, address_of
from llmcore.llama.ffi.library import load_library
from llmcore.llama.handle import HandleOwner
from llmcore.llama.model import Model
from llmcore.llama.template_literals import inspected_texts
from llmcore.llama.tool_schema import FIRST_STAND_IN, PROBE_MESSAGES, PROBE_TOOLS, StandIns, ToolArgument
from llmcore.messages import ChatPrompt
from llmcore.protocol.chat_limits import check_chat_size
from llmcore.values import wrong_value

# Format of llama.cpp's errors in a template: the place, quoted over several lines, then the message.
_TEMPLATE_ERROR = re.compile(
    r"Unable to generate parser for this template\. Automatic parser generation failed: |"
    r"\n-+\nWhile executing \w+ at line (\d+), column (\d+) in source:\n.*\nError: (?:(Jinja Exception: ))?",
    re.DOTALL,
)

# The shim's errors begin with the field at fault; all others concern the messages.
_FIELD = re.compile(r"((?:tools\[\d+\]|chat_template_kwargs)[.\w]*|tool_name|continue_final_message): ")


class RenderedChat(msgspec.Struct, frozen=True):
    """A chat as a prompt, to be tokenized by ChatTemplate.token_ids(). BOS is left out if the tokenizer adds it."""

    prompt: str
    marked_prompt: str = (
        ""  # the prompt with `mark` in special tokens' texts that are plain text; empty if there are none
    )
    mark: str = ""
    stops: tuple[str, ...] = ()
    preserved: tuple[str, ...] = ()  # special tokens whose text the parser needs
    syntax: str = ""  # for ChatParser; empty if the answer's text is its content
    grammar: str = ""  # for grammar.call_grammar.CallGrammar; empty if no calls are constrained
    arguments: tuple[ToolArgument, ...] = ()  # what the stand-ins in the grammar stand for
    free: tuple[str, ...] = ()  # paths of parameters that the grammar does not hold to their schemas
    thinking_start: str = ""
    thinking_ends: tuple[str, ...] = ()


class ChatTemplate(HandleOwner):
    """Owns the chat template of a model, or one compiled from a Jinja source. Without a model, the source is compiled without a
    vocabulary.

    Special tokens' texts in messages, tools and template variables stay plain text: only the template writes special tokens.
    `allows_special` turns this off.

    Raises InvalidRequestError if the source is not a template that llama.cpp can compile.
    """

    def __init__(self, model: Model | None, source: str | None = None, *, allows_special: bool = False) -> None:
        if source is not None and not isinstance(source, str):
            raise wrong_value("source", "a text", source)
        self._lib = load_library()
        self._name = "the chat template"
        self._model = model
        self._allows_special = allows_special
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
        calls = bool(prompt.tools) and prompt.tool_choice != "none"
        stand_ins = StandIns(are_json=calls and self._has_json_arguments)
        rendered = self._render(self._request(prompt, stand_ins))
        if not rendered.grammar:
            return rendered
        return structs.replace(rendered, arguments=tuple(stand_ins.arguments), free=tuple(stand_ins.free))

    def _render(self, request: dict[str, Any]) -> RenderedChat:
        try:
            answer = self._lib.take_string(self._lib.lc_chat_render, self.handle, msgspec.json.encode(request))
        except (NativeError, InvalidRequestError) as error:
            raise _refusal(error.message) from None
        return msgspec.json.decode(answer, type=RenderedChat)

    def token_ids(self, chat: RenderedChat) -> Int32Array:
        """Returns the tokens of a rendered chat as int32[n_tokens], with those that the tokenizer adds. Needs a model."""
        assert self._model is not None, "a template without a model has no tokenizer"
        if not chat.mark:
            return self._model.token_ids(chat.prompt, parse_special=True)
        data, mark = chat.marked_prompt.encode(), chat.mark.encode()
        tokens = np.empty(len(data) + 4, np.int32)
        n = self._lib.lc_chat_tokenize(self.handle, data, len(data), mark, address_of(tokens), len(tokens), True)
        if n < 0:
            raise NativeError(self._lib.last_error() or "the prompt has more tokens than bytes")
        return tokens[:n]

    @cached_property
    def _has_json_arguments(self) -> bool:
        """True if the arguments of a call are one JSON object."""
        held = StandIns(are_json=True).replaced(PROBE_TOOLS)
        request = {"messages": PROBE_MESSAGES, "tools": PROBE_TOOLS, "held_tools": held, "tool_choice": "required"}
        try:
            return str(FIRST_STAND_IN) in self._render(request).grammar
        except InvalidRequestError:
            return False

    def _request(self, prompt: ChatPrompt, stand_ins: StandIns) -> dict[str, Any]:
        request: dict[str, Any] = {
            "messages": msgspec.Raw(prompt.messages),
            "add_generation_prompt": prompt.add_generation_prompt,
            "continue_final_message": prompt.continue_final_message,
        }
        if not self._allows_special:
            request["kept_texts"] = self._kept_texts
        if prompt.tools:
            request["tools"] = msgspec.Raw(prompt.tools)
            if prompt.tool_choice != "none":
                request["held_tools"] = stand_ins.replaced(_tools(prompt.tools))
            request["tool_choice"] = prompt.tool_choice
            request["tool_name"] = prompt.tool_name
            # With a named function, the answer is one call of it.
            request["parallel_tool_calls"] = prompt.parallel_tool_calls and not prompt.tool_name
        arguments = _object(prompt.template_args) | self._effort(prompt.reasoning_effort)
        if arguments:
            request["chat_template_kwargs"] = arguments
        return request

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
    def _kept_texts(self) -> tuple[str, ...]:
        """Texts that the template looks for; special tokens among them keep their meaning in assistant messages."""
        source = self.describe()["source"]
        variant = self._model.tool_template if self._model is not None else None
        return inspected_texts("\n".join([source, variant or ""]))

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
