"""Tokens of a request's prompt: template, tokenizer, and checkpoints, up to which other prompts may be the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import structs

from llmcore.engine.prompt_limit import PromptBound
from llmcore.errors import InvalidRequestError
from llmcore.limits import Limits
from llmcore.llama.chat import ChatTemplate, RenderedChat
from llmcore.llama.ffi.arrays import Int32Array
from llmcore.llama.model import Model
from llmcore.messages import ChatPrompt, Prompt, TextPrompt
from llmcore.sequence import common_prefix

# Two ways in which a conversation may continue: the tokens that both prompts have in common belong to the messages before.
_CONTINUATIONS = ({"role": "user", "content": "Hello there."}, {"role": "user", "content": "What is it?"})

# Number of checkpoints of a prompt: behind the first message, and behind the last ones.
_N_CHECKPOINTS = 4


@dataclass(frozen=True)
class TokenizedPrompt:
    """`checkpoints` are lengths at which the state is worth saving if it cannot be cut later. `chat` is the rendered template of a
    chat prompt, `preserved` the special tokens that stay visible in the answer to it. `prediction` are tokens that the answer
    is expected to have."""

    tokens: list[int]
    chat: RenderedChat | None = None
    preserved: frozenset[int] = frozenset()
    checkpoints: tuple[int, ...] = field(default=())
    prediction: tuple[int, ...] = ()

    @property
    def stops(self) -> tuple[str, ...]:
        return self.chat.stops if self.chat else ()


class Prompts:
    """Reads prompts for one model and template. Several threads may read at a time."""

    def __init__(self, model: Model, template: ChatTemplate, limits: Limits | None = None) -> None:
        """Refuses prompts that are too long for `limits`, if these are given, before they are tokenized if possible."""
        self._model = model
        self._template = template
        self._bound = None if limits is None else PromptBound(limits.n_ctx, limits.n_prompt)

    def read(self, prompt: Prompt, *, with_checkpoints: bool = False) -> TokenizedPrompt:
        """Renders and tokenizes a prompt. Raises InvalidRequestError or ContextLengthError."""
        chat: RenderedChat | None = None
        if isinstance(prompt, ChatPrompt):
            chat = self._template.render(prompt)
            tokens = self._chat_tokens(chat)
        elif isinstance(prompt, TextPrompt):
            tokens = self._infill(prompt) if prompt.suffix else self._tokenize(prompt.text, "prompt")
        else:
            tokens = list(prompt.tokens)
            self._model.check_tokens(tokens)
        if not tokens:
            raise InvalidRequestError("the prompt is empty", param="prompt" if chat is None else "messages")
        preserved = self._preserved(chat) if chat is not None and chat.syntax else frozenset[int]()
        return TokenizedPrompt(tokens, chat, preserved, self._checkpoints(prompt, tokens) if with_checkpoints else ())

    def read_prediction(self, text: str) -> tuple[int, ...]:
        """Tokenizes the text that an answer is expected to be. Raises ContextLengthError for one that no prompt may be as long
        as, if possible by the text's length alone."""
        if not text:
            return ()
        return tuple(self._bounded(text, "prediction", lambda: self._model.token_ids(text, add_special=False)))

    def render(self, prompt: ChatPrompt) -> str:
        """Returns messages as the template writes them. Raises InvalidRequestError."""
        return self._template.render(prompt).prompt

    def tokenize_chat(self, prompt: ChatPrompt) -> tuple[int, ...]:
        """Returns the tokens of messages, however many. Raises InvalidRequestError."""
        return tuple(self._template.token_ids(self._template.render(prompt)).tolist())

    def _tokenize(self, text: str, param: str, *, add_special: bool = True) -> list[int]:
        """Tokenizes plain text. Raises ContextLengthError, if possible by the text's length alone."""
        return self._bounded(text, param, lambda: self._model.token_ids(text, add_special=add_special))

    def _chat_tokens(self, chat: RenderedChat) -> list[int]:
        """Tokenizes a rendered chat. Raises ContextLengthError, if possible by the text's length alone."""
        return self._bounded(chat.prompt, "messages", lambda: self._template.token_ids(chat))

    def _bounded(self, text: str, param: str, tokenize: Callable[[], Int32Array]) -> list[int]:
        if self._bound is not None:
            self._bound.check(self._model.tokens_at_least(text), param, is_least=True)
        ids = tokenize()
        if self._bound is not None:
            self._bound.check(len(ids), param)
        tokens: list[int] = ids.tolist()
        return tokens

    def _infill(self, prompt: TextPrompt) -> list[int]:
        """Returns a prompt to fill in a gap: prefix, suffix, middle, as in llama-server's /infill."""
        if self._model.infill is None:
            raise InvalidRequestError("the model cannot fill in: it has no tokens for it", param="suffix")
        before, after, gap = self._model.infill
        text = self._tokenize(prompt.text, "prompt", add_special=False)
        suffix = self._tokenize(prompt.suffix, "suffix", add_special=False)
        bos = [self._model.bos] if self._model.adds_bos and self._model.bos is not None else []
        return [*bos, before, *text, after, *suffix, gap]

    def _preserved(self, chat: RenderedChat) -> frozenset[int]:
        spelled = (self._model.tokenize(text, add_special=False, parse_special=True) for text in chat.preserved)
        return frozenset(tokens[0] for tokens in spelled if len(tokens) == 1)

    def read_prefix(self, prompt: Prompt) -> list[int]:
        """Returns the tokens that all continuations of a prompt begin with. Raises InvalidRequestError or ContextLengthError."""
        if not isinstance(prompt, ChatPrompt):
            return self.read(prompt).tokens
        tokens = self._beginning(prompt, _messages(prompt))
        if not tokens:
            raise InvalidRequestError("conversations that begin with these messages have no token in common")
        return tokens

    def _beginning(self, prompt: ChatPrompt, messages: list[Any]) -> list[int]:
        one, other = (self._tokens(prompt, [*messages, each]) for each in _CONTINUATIONS)
        return one[: common_prefix(one, other)]

    def _tokens(self, prompt: ChatPrompt, messages: list[Any]) -> list[int]:
        encoded = msgspec.json.encode(messages)
        rendered = self._template.render(
            structs.replace(prompt, messages=encoded, add_generation_prompt=True, continue_final_message=False)
        )
        return self._chat_tokens(rendered)

    def _checkpoints(self, prompt: Prompt, tokens: list[int]) -> tuple[int, ...]:
        """Returns lengths of the prompt behind messages, and one token before its end, for the same prompt again."""
        found = {len(tokens) - 1}
        if isinstance(prompt, ChatPrompt):
            messages = _messages(prompt)
            counts = {1, *range(max(len(messages) - _N_CHECKPOINTS + 2, 1), len(messages) + 1)}
            for n in sorted(counts):
                try:
                    found.add(common_prefix(self._beginning(prompt, messages[:n]), tokens))
                except InvalidRequestError:  # a template may refuse a prompt that ends there: no checkpoint
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
