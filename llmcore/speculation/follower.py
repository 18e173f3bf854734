"""One sequence that follows a text: its cursor, and what is learned from each token that comes."""

from __future__ import annotations

from collections.abc import Sequence

from llmcore.speculation.acceptance import Acceptance, SequenceAcceptance
from llmcore.speculation.cursor import Cursor
from llmcore.speculation.draft import Draft
from llmcore.speculation.suffix_index import Match


class Follower:
    """`tokens` are the sequence's own, which grow; of these, `n_read` are known here. Kinds are those of its drafter; `resumed` is
    the kind of places behind a miss."""

    __slots__ = ("_resumed", "acceptance", "cursor", "n_read", "tokens")

    def __init__(self, tokens: list[int], n_read: int, shared: Acceptance, resumed: int) -> None:
        self.acceptance = SequenceAcceptance(shared)
        self.cursor: Cursor | None = None
        self.n_read = n_read
        self.tokens = tokens
        self._resumed = resumed

    def read(self) -> None:
        """Moves the cursor past the tokens that have come since the last call, and learns from them whether they were drafted or
        not."""
        tokens, n, cursor = self.tokens, len(self.tokens), self.cursor
        if cursor is not None:
            is_own = cursor.text is tokens
            for at in range(self.n_read, n):
                kind, length = cursor.kind, cursor.length
                end = at if is_own else len(cursor.text)
                self.acceptance.observe(kind, length, cursor.advance(tokens[at], end))
                if cursor.is_lost:
                    self.cursor = None
                    break
        self.n_read = n

    def begin(self, text: Sequence[int], kind: int) -> None:
        """Follows a text from its first token on."""
        self.cursor = Cursor(text, 0, 0, kind, self._resumed)

    def consider(self, match: Match | None, kind: int) -> None:
        """Follows a match if its next token is more likely to come than that of the text followed so far."""
        if match is None:
            return
        cursor, acceptance = self.cursor, self.acceptance
        if cursor is None or acceptance.chance(kind, match.n) > acceptance.chance(cursor.kind, cursor.length):
            self.cursor = Cursor(match.text, match.at, match.n, kind, self._resumed)

    def draft(self, n_max: int, source: str) -> Draft | None:
        """Returns the next n_max tokens of the text, fewer at its end, or None if there is no text to follow."""
        cursor = self.cursor
        if cursor is None or n_max < 1:
            return None
        tokens = cursor.read_repeating(n_max) if cursor.text is self.tokens else cursor.read(n_max)
        return Draft(tokens, cursor.chances(self.acceptance, len(tokens)), source, cursor.length)
