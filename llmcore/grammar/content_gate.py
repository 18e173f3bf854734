"""Applies a constraint to the content of a chat answer, or to the tool calls in its place, and not to reasoning before it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import numpy as np

from llmcore.errors import ConstraintError, NativeError
from llmcore.llama.chat import ChatParser, RenderedChat
from llmcore.llama.ffi.arrays import UInt32Array

# Some JSON. A template whose parser does not return it as content has a form of its own for content.
_PROBE = '{"a": 1}'


class TokenConstraint(Protocol):
    """The tokens that may come next in an answer; see matcher.Matcher."""

    @property
    def mask(self) -> UInt32Array | None: ...
    @property
    def failure(self) -> ConstraintError: ...
    @property
    def is_complete(self) -> bool: ...
    def fill(self) -> None: ...
    def accept(self, token: int) -> None: ...
    def forced(self) -> list[int]: ...


class ContentGate:
    """A constraint that applies to what follows the reasoning only.

    Args:
        inner: the constraint on content and calls.
        anything: mask of all tokens except those that end an answer. It applies during reasoning.
        token_bytes: bytes of a token.
        is_reasoning: the answer begins within reasoning.
        start: the token that begins reasoning; it is allowed before the content.
        ends: texts that end reasoning.
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
    ) -> None:
        self._inner = inner
        self._anything = anything
        self._token_bytes = token_bytes
        self._state: Literal["reasoning", "before", "content"] = "reasoning" if is_reasoning else "before"
        self._start = start
        self._ends = tuple(end.encode() for end in ends)
        self._tail = b""  # last bytes of the reasoning, as many as the longest end
        self._mask = anything.copy()

    @property
    def mask(self) -> UInt32Array | None:
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
            self._mask[:] = self._inner.mask if self._inner.mask is not None else self._anything
            if self._start is not None:
                self._mask[self._start // 32] |= np.uint32(1 << self._start % 32)

    def accept(self, token: int) -> None:
        if self._state == "reasoning":
            self._accept_reasoning(token)
        elif self._state == "before" and token == self._start:
            self._state = "reasoning"
            self._mask[:] = self._anything
        else:
            self._state = "content"
            self._inner.accept(token)

    def _accept_reasoning(self, token: int) -> None:
        self._tail += self._token_bytes(token)
        if any(end in self._tail for end in self._ends):
            self._state, self._start = "before", None
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
