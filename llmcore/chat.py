"""Chat templates, rendered by llama.cpp's own `common` library through the shim: JSON in, JSON out."""

from __future__ import annotations

from typing import Any

import msgspec

from llmcore import ffi
from llmcore.errors import InvalidRequestError, NativeError
from llmcore.handle import Owner
from llmcore.model import Model


class RenderedChat(msgspec.Struct, frozen=True):
    """What a template makes of messages. The prompt is text in which special tokens are to be parsed; its BOS is left out
    where the tokenizer adds one."""

    prompt: str
    stops: tuple[str, ...] = ()


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

    def render(self, messages: bytes, *, add_generation_prompt: bool = True) -> RenderedChat:
        """Renders messages (a JSON array in OpenAI's form). InvalidRequestError if the template refuses them."""
        request = msgspec.json.encode(
            {"messages": msgspec.Raw(messages), "add_generation_prompt": add_generation_prompt}
        )
        try:
            answer = self._lib.take_string(self._lib.lc_chat_render, self.handle, request)
        except (NativeError, InvalidRequestError) as error:
            raise InvalidRequestError(
                f"the chat template cannot render these messages: {error.message}", param="messages"
            ) from None
        return msgspec.json.decode(answer, type=RenderedChat)

    def describe(self) -> dict[str, Any]:
        """The template's Jinja source, what it can do, and whether the model carries it."""
        described: dict[str, Any] = msgspec.json.decode(self._lib.take_string(self._lib.lc_chat_describe, self.handle))
        return described
