"""A place in a text that an answer follows.

While the answer agrees with the text, the cursor moves on. After a token that differs it looks for a way to go on: the text's next
tokens are searched for the token that came; otherwise that token is taken to replace the text's. An answer that quotes with
changes is followed that way without a new search.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmcore.speculation.acceptance import SequenceAcceptance

# Tokens of the text that may be missing in the answer, and misses in a row after which the cursor is lost.
_SKIP_MAX = 16
_MISSES_MAX = 3

# Behind a miss, so many tokens must agree until the place counts as sure as before.
SURE = 8


class Cursor:
    """`at` is the place of the text's token that should come next, `length` the number of tokens before it that agreed.

    kind: how the place was found, as acceptance.py learns by it. After a miss it is `resumed` for SURE tokens.
    """

    __slots__ = ("_found", "_n_misses", "_resumed", "at", "kind", "length", "text")

    def __init__(self, text: Sequence[int], at: int, length: int, kind: int, resumed: int) -> None:
        self.text = text
        self.at = at
        self.length = length
        self.kind = kind
        self._found = kind
        self._resumed = resumed
        self._n_misses = 0

    @property
    def is_lost(self) -> bool:
        """True if the text ends here, or too little of it came."""
        return self._n_misses >= _MISSES_MAX or self.at >= len(self.text)

    @property
    def is_resumed(self) -> bool:
        """True shortly after a miss."""
        return self.kind == self._resumed

    def advance(self, token: int, end: int) -> bool:
        """Moves past a token that came. Returns True if it is the text's.

        Args:
            end: tokens of the text from here on are not known yet: an answer that follows itself is its own text.
        """
        text, at = self.text, self.at
        if text[at] == token:
            self.at += 1
            self.length += 1
            if self.length >= SURE:
                self.kind = self._found
            if self.length > 1:
                self._n_misses = 0
            return True
        self._n_misses += 1
        self.kind = self._resumed
        self.length = 0
        self.at = at + 1
        for skipped in range(at + 1, min(at + 1 + _SKIP_MAX, end)):
            if text[skipped] == token:
                self.at = skipped + 1
                self.length = 1
                break
        return False

    def chances(self, acceptance: SequenceAcceptance, n: int) -> tuple[float, ...]:
        """Returns the chances of the text's next n tokens, each given that those before it came."""
        if not self.is_resumed:
            return acceptance.chances(self.kind, self.length, n)
        n_unsure = min(SURE - self.length, n)
        unsure = acceptance.chances(self.kind, self.length, n_unsure)
        return unsure + acceptance.chances(self._found, SURE, n - n_unsure)

    def read(self, n: int) -> tuple[int, ...]:
        """Returns the next n tokens of the text, or fewer at its end."""
        return tuple(self.text[self.at : self.at + n])

    def read_repeating(self, n: int) -> tuple[int, ...]:
        """Returns n tokens. At its end the text is continued by what is read: a text that repeats itself goes on doing so."""
        found = list(self.text[self.at : self.at + n])
        period = len(self.text) - self.at
        while len(found) < n:
            found.append(found[len(found) - period])
        return tuple(found)
