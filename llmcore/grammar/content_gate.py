"""When a constraint holds a chat answer: its content is held, not what a model thinks before, nor a tool call in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec
import numpy as np

from llmcore.errors import ConstraintError, InvalidRequestError, NativeError
from llmcore.llama.chat import ChatParser, RenderedChat
from llmcore.llama.ffi.arrays import UInt32Array

# Any content that is JSON: a template whose parser does not read it as such has content of a form of its own.
_PROBE = '{"a": 1}'


class TokenConstraint(Protocol):
    """What an answer is held by; constraint.Matcher is one."""

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
    """A holder of the content alone.

    Before it, while `is_reasoning`, anything may come but the end of the answer, until one of `ends` has; else the token `start`
    may, which opens reasoning, and one of `calls`, which begin a tool call: what follows is then not held here. `anything` is the
    mask of all tokens that end no answer.
    """

    def __init__(
        self,
        inner: TokenConstraint,
        anything: UInt32Array,
        piece: Callable[[int], bytes],
        *,
        is_reasoning: bool,
        start: int | None,
        ends: tuple[str, ...],
        calls: frozenset[int],
    ) -> None:
        self._inner = inner
        self._anything = anything
        self._piece = piece
        self._place: Literal["reasoning", "before", "content", "call"] = "reasoning" if is_reasoning else "before"
        self._openers = calls | ({start} if start is not None else set())
        self._start = start
        self._ends = tuple(end.encode() for end in ends)
        self._calls = calls
        self._tail = b""  # of the reasoning, as long as an end
        self._mask = anything.copy()

    @property
    def mask(self) -> UInt32Array:
        return self._inner.mask if self._place == "content" else self._mask

    @property
    def failure(self) -> ConstraintError:
        return self._inner.failure

    @property
    def is_complete(self) -> bool:
        return self._place == "content" and self._inner.is_complete

    def fill(self) -> None:
        if self._place in ("before", "content"):
            self._inner.fill()
        if self._place == "before":
            self._mask[:] = self._inner.mask
            for token in self._openers:
                self._mask[token // 32] |= np.uint32(1 << token % 32)

    def accept(self, token: int) -> None:
        if self._place == "reasoning":
            self._think(token)
        elif self._place == "before" and token in self._openers:
            self._place = "reasoning" if token == self._start else "call"
            self._mask[:] = self._anything if token == self._start else np.uint32(0xFFFFFFFF)
        elif self._place in ("before", "content"):
            self._place = "content"
            self._inner.accept(token)

    def _think(self, token: int) -> None:
        self._tail += self._piece(token)
        if any(end in self._tail for end in self._ends):
            self._place, self._openers = "before", self._calls
        else:
            self._tail = self._tail[-max(map(len, self._ends)) :]

    def forced(self) -> list[int]:
        return self._inner.forced() if self._place == "content" else []


def is_opened(chat: RenderedChat) -> bool:
    """Whether the prompt itself begins the reasoning."""
    return bool(chat.thinking_start and chat.thinking_ends) and chat.prompt.rstrip().endswith(chat.thinking_start)


def reads_json(chat: RenderedChat, parser: ChatParser) -> bool:
    """Whether JSON (after reasoning, if that is open) is content, and all of it."""
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
    """Whether the answer must be a tool call, so that there is no content to hold."""
    return bool(chat.grammar) and not msgspec.json.decode(chat.grammar, type=_Grammar).lazy


def call_tokens(chat: RenderedChat, preserved: frozenset[int], piece: Callable[[int], bytes]) -> frozenset[int]:
    """Tokens that begin a tool call. Raises InvalidRequestError where calls may come that no token of their own begins: their
    first token and that of the content could not be told apart."""
    if not chat.grammar:
        return frozenset()
    triggers = msgspec.json.decode(chat.grammar, type=_Grammar).triggers
    words = [each.value.encode() for each in triggers if each.type == "word"]
    found = frozenset(token for token in preserved if any(word.startswith(piece(token)) for word in words))
    if not found:
        message = (
            "the model's chat template has no token that begins a tool call: send either tools or a form of the answer"
        )
        raise InvalidRequestError(message, param="constraint")
    return found
