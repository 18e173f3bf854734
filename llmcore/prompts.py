"""From a request's prompt to tokens: templates, stop strings, and the places in it where others may begin alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from llmcore.chat import ChatTemplate, RenderedChat
from llmcore.errors import InvalidRequestError
from llmcore.messages import ChatPrompt, Prompt, TextPrompt
from llmcore.model import Model
from llmcore.prefix import common_prefix

# Two ways in which a conversation may go on: what their prompts have in common belongs to the messages before.
_CONTINUATIONS = ({"role": "user", "content": "Hello there."}, {"role": "user", "content": "What is it?"})

# Checkpoints of a prompt: behind the first message, and behind the last ones.
_N_CHECKPOINTS = 4


@dataclass(frozen=True)
class Tokenized:
    """`checkpoints` are lengths at which the state is worth saving, where it cannot be cut later."""

    tokens: list[int]
    stops: tuple[str, ...] = ()
    checkpoints: tuple[int, ...] = field(default=())


class Prompts:
    """Reads prompts for one model and template."""

    def __init__(self, model: Model, template: ChatTemplate) -> None:
        self._model = model
        self._template = template

    def read(self, prompt: Prompt, *, with_checkpoints: bool = False) -> Tokenized:
        """Raises InvalidRequestError."""
        stops: tuple[str, ...] = ()
        if isinstance(prompt, ChatPrompt):
            rendered = self._render(prompt)
            tokens, stops = self._model.tokenize(rendered.prompt, parse_special=True), rendered.stops
        elif isinstance(prompt, TextPrompt):
            tokens = self._model.tokenize(prompt.text)
        else:
            tokens = list(prompt.tokens)
            self._model.check_tokens(tokens)
        if not tokens:
            raise InvalidRequestError("the prompt is empty", param="prompt")
        return Tokenized(tokens, stops, self._checkpoints(prompt, tokens) if with_checkpoints else ())

    def render(self, prompt: ChatPrompt) -> str:
        """The text that the template makes of messages. Raises InvalidRequestError."""
        return self._render(prompt).prompt

    def _render(self, prompt: ChatPrompt) -> RenderedChat:
        return self._template.render(prompt.messages, add_generation_prompt=prompt.add_generation_prompt)

    def prefix(self, prompt: Prompt) -> list[int]:
        """The tokens with which every prompt begins that continues this one. Raises InvalidRequestError."""
        if not isinstance(prompt, ChatPrompt):
            return self.read(prompt).tokens
        tokens = self._beginning(_messages(prompt))
        if not tokens:
            raise InvalidRequestError("conversations that begin with these messages have no token in common")
        return tokens

    def _beginning(self, messages: list[Any]) -> list[int]:
        one, other = (self._tokens([*messages, each]) for each in _CONTINUATIONS)
        return one[: common_prefix(one, other)]

    def _tokens(self, messages: list[Any]) -> list[int]:
        rendered = self._template.render(msgspec.json.encode(messages))
        return self._model.tokenize(rendered.prompt, parse_special=True)

    def _checkpoints(self, prompt: Prompt, tokens: list[int]) -> tuple[int, ...]:
        """Behind messages; and one token before the end, for who asks the same again."""
        found = {len(tokens) - 1}
        if isinstance(prompt, ChatPrompt):
            messages = _messages(prompt)
            counts = {1, *range(max(len(messages) - _N_CHECKPOINTS + 2, 1), len(messages) + 1)}
            for n in sorted(counts):
                try:
                    found.add(common_prefix(self._beginning(messages[:n]), tokens))
                except InvalidRequestError:  # templates may refuse such a beginning: it is no checkpoint then
                    continue
        return tuple(sorted(each for each in found if 0 < each < len(tokens)))


def _messages(prompt: ChatPrompt) -> list[Any]:
    try:
        messages = msgspec.json.decode(prompt.messages)
    except msgspec.DecodeError:
        messages = None
    if not isinstance(messages, list):
        raise InvalidRequestError("messages must be a JSON array", param="messages")
    return messages
