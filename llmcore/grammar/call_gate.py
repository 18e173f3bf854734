"""Applies the grammar of tool calls from the place on where the text of an answer begins a call."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from llmcore.errors import ConstraintError
from llmcore.grammar.call_grammar import CallSyntax, Trigger
from llmcore.grammar.content_gate import TokenConstraint
from llmcore.grammar.reasoning_text import ReasoningText
from llmcore.llama.ffi.arrays import UInt32Array

# Bytes of the answer in which a trigger is searched. Patterns are longer than their shortest texts only by white space.
_N_BYTES_MAX = 1024


class CallMatcher(TokenConstraint, Protocol):
    """A position in the grammar of calls, which always has a mask; see matcher.Matcher."""

    @property
    def mask(self) -> UInt32Array: ...


class CallGate:
    """A constraint that applies from a trigger on. Everything is allowed before.

    Args:
        syntax: the triggers, and what reasoning looks like, in which they do not count.
        begin: returns a matcher at the beginning of calls.
        token_bytes: text of a token, also of one that is not text.
        spell: returns tokens for a text.
    """

    def __init__(
        self,
        syntax: CallSyntax,
        begin: Callable[[], CallMatcher],
        token_bytes: Callable[[int], bytes],
        spell: Callable[[str], list[int]],
    ) -> None:
        self._patterns = [_pattern(each) for each in syntax.triggers if each.type.startswith("pattern")]
        self._words = [each.value.encode() for each in syntax.triggers if not each.type.startswith("pattern")]
        self._longest_word = max(map(len, self._words), default=0)
        self._begin = begin
        self._token_bytes = token_bytes
        self._spell = spell
        self._reasoning = ReasoningText(syntax.thinking_start, syntax.thinking_ends)
        self._reasoning.add(syntax.generation_prompt.encode())
        self._matcher: CallMatcher | None = None
        self._is_over = False  # the text of a call broke the grammar: nothing is constrained any more
        self._text = b""  # of the answer, outside of reasoning; its last part
        self._tokens: list[tuple[int, int]] = []  # its tokens, each with the place in the text where it begins

    @property
    def mask(self) -> UInt32Array | None:
        """The tokens that are allowed; None if all are."""
        return None if self._matcher is None else self._matcher.mask

    @property
    def failure(self) -> ConstraintError:
        if self._matcher is None:
            return ConstraintError("no token can be chosen", param="tools")
        return self._matcher.failure

    @property
    def is_complete(self) -> bool:
        return self._matcher is not None and self._matcher.is_complete

    def fill(self) -> None:
        if self._matcher is not None:
            self._matcher.fill()

    def accept(self, token: int) -> None:
        if self._matcher is not None:
            self._matcher.accept(token)
        elif not self._is_over:
            self._accept_text(token)

    def forced(self) -> list[int]:
        return [] if self._matcher is None else self._matcher.forced()

    def _accept_text(self, token: int) -> None:
        data, was_inside = self._token_bytes(token), self._reasoning.is_inside
        end = self._reasoning.add(data)
        if self._reasoning.is_inside and was_inside:
            return
        if was_inside:
            # The end of the reasoning counts: it may be the beginning of a call.
            n_before = len(end) - len(data)
            self._text, self._tokens = end, [(token, n_before)] if n_before >= 0 else []
        else:
            self._tokens.append((token, len(self._text)))
            self._text += data
        at = self._trigger(len(data) if not was_inside else len(self._text))
        if at is not None:
            self._start(at)
        else:
            self._trim()

    def _trigger(self, n_new: int) -> int | None:
        """Returns where in the text a call begins, if that became certain by the last n_new bytes."""
        first = max(len(self._text) - n_new - self._longest_word, 0)
        places = [at for word in self._words if (at := self._text.find(word, first)) >= 0]
        for pattern in self._patterns:
            if (found := pattern.search(self._text)) is not None:
                groups = [i for i in range(1, pattern.groups + 1) if found.start(i) >= 0]
                places.append(found.start(groups[0]) if groups else found.start())
        return min(places, default=None)

    def _start(self, at: int) -> None:
        """Constrains the answer from a place in its text on."""
        matcher = self._begin()
        following = [(token, start) for token, start in self._tokens if start >= at]
        first = following[0][1] if following else len(self._text)
        try:
            tokens = self._spell(self._text[at:first].decode()) + [token for token, _ in following]
            for token in tokens:
                matcher.accept(token)
        except (ConstraintError, UnicodeDecodeError):
            self._is_over = True
            return
        self._matcher = matcher
        self._text, self._tokens = b"", []

    def _trim(self) -> None:
        n = len(self._text) - _N_BYTES_MAX
        if n > _N_BYTES_MAX:
            self._text = self._text[n:]
            self._tokens = [(token, start - n) for token, start in self._tokens if start >= n]
            # Calls that only the beginning of an answer may have cannot come any more.
            self._patterns = [each for each in self._patterns if not each.pattern.startswith(b"^")]


def _pattern(trigger: Trigger) -> re.Pattern[bytes]:
    value = trigger.value.encode()
    return re.compile(b"^" + value + b"$" if trigger.type == "pattern_full" else value)
