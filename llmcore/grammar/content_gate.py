"""Applies a constraint to the content of a chat answer, and not to reasoning before it or to a tool call in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec
import numpy as np

from llmcore.errors import ConstraintError, InvalidRequestError, NativeError
from llmcore.llama.chat import ChatParser, RenderedChat
from llmcore.llama.ffi.arrays import UInt32Array

# Some JSON. A template whose parser does not return it as content has a form of its own for content.
_PROBE = '{"a": 1}'


class TokenConstraint(Protocol):
    """The tokens that may come next in an answer; see matcher.Matcher."""

    @property
    def mask(self) -> UInt32Array: ...
    @property
    def failure(self) -> ConstraintError: ...
    @property
    def is_complete(self) -> bool: ...
    def fill(self) -> None: ...
    def accept(self, token: int) -> None: ...
    def forced(self) -> list[int]: ...


class ContentGate:
    """A constraint that applies to the content only.

    Args:
        inner: the constraint on the content.
        anything: mask of all tokens except those that end an answer. It applies during reasoning.
        token_bytes: bytes of a token.
        is_reasoning: the answer begins within reasoning.
        start: the token that begins reasoning; it is allowed before the content.
        ends: texts that end reasoning.
        calls: tokens that begin a tool call. They are allowed before the content; nothing is constrained after one.
    """

    def __init__(
        self,
        inner: TokenConstraint,
        anything: UInt32Array,
        token_bytes: Callable[[int], bytes],
        *,
        is_reasoning: bool,
        start: int | None,
        ends: tuple[str, ...],
        calls: frozenset[int],
    ) -> None:
        self._inner = inner
        self._anything = anything
        self._token_bytes = token_bytes
        self._state: Literal["reasoning", "before", "content", "call"] = "reasoning" if is_reasoning else "before"
        self._openers = calls | ({start} if start is not None else set())
        self._start = start
        self._ends = tuple(end.encode() for end in ends)
        self._calls = calls
        self._tail = b""  # last bytes of the reasoning, as many as the longest end
        self._mask = anything.copy()

    @property
    def mask(self) -> UInt32Array:
        return self._inner.mask if self._state == "content" else self._mask

    @property
    def failure(self) -> ConstraintError:
        return self._inner.failure

    @property
    def is_complete(self) -> bool:
        return self._state == "content" and self._inner.is_complete

    def fill(self) -> None:
        if self._state in ("before", "content"):
            self._inner.fill()
        if self._state == "before":
            self._mask[:] = self._inner.mask
            for token in self._openers:
                self._mask[token // 32] |= np.uint32(1 << token % 32)

    def accept(self, token: int) -> None:
        if self._state == "reasoning":
            self._accept_reasoning(token)
        elif self._state == "before" and token in self._openers:
            self._state = "reasoning" if token == self._start else "call"
            self._mask[:] = self._anything if token == self._start else np.uint32(0xFFFFFFFF)
        elif self._state in ("before", "content"):
            self._state = "content"
            self._inner.accept(token)

    def _accept_reasoning(self, token: int) -> None:
        self._tail += self._token_bytes(token)
        if any(end in self._tail for end in self._ends):
            self._state, self._openers = "before", self._calls
        else:
            self._tail = self._tail[-max(map(len, self._ends)) :]

    def forced(self) -> list[int]:
        return self._inner.forced() if self._state == "content" else []


def is_opened(chat: RenderedChat) -> bool:
    """Returns True if the prompt itself begins the reasoning."""
    return bool(chat.thinking_start and chat.thinking_ends) and chat.prompt.rstrip().endswith(chat.thinking_start)


def reads_json(chat: RenderedChat, parser: ChatParser) -> bool:
    """Returns True if the parser reads JSON (after reasoning, if that is open) as content, completely."""
    text = (chat.thinking_ends[0] if is_opened(chat) else "") + _PROBE
    try:
        return parser.parse(text, is_partial=False).content == _PROBE
    except NativeError:
        return False


class _Trigger(msgspec.Struct):
    type: str
    value: str


class _Grammar(msgspec.Struct):
    lazy: bool
    triggers: list[_Trigger]


def calls_are_certain(chat: RenderedChat) -> bool:
    """Returns True if the answer must be a tool call, so that there is no content to constrain."""
    return bool(chat.grammar) and not msgspec.json.decode(chat.grammar, type=_Grammar).lazy


def call_tokens(chat: RenderedChat, preserved: frozenset[int], token_bytes: Callable[[int], bytes]) -> frozenset[int]:
    """Returns the tokens that begin a tool call. Raises InvalidRequestError if a call may begin with an ordinary token, which could
    not be distinguished from content.

    Args:
        preserved: special tokens that the parser sees as text.
    """
    if not chat.grammar:
        return frozenset()
    triggers = msgspec.json.decode(chat.grammar, type=_Grammar).triggers
    words = [each.value.encode() for each in triggers if each.type == "word"]
    found = frozenset(token for token in preserved if any(word.startswith(token_bytes(token)) for word in words))
    if not found:
        message = (
            "the model's chat template has no token that begins a tool call: send either tools or a form of the answer"
        )
        raise InvalidRequestError(message, param="constraint")
    return found
