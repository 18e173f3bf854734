"""Finds where reasoning begins and ends in an answer, by its text. Pure.

Tokens are not enough: a tag may be spelled by several tokens, and the tokenizer may join its edges with the text beside it.
"""

from __future__ import annotations


class ReasoningText:
    """Reads an answer piece by piece.

    Args:
        start: the tag that begins reasoning; empty if there is none.
        ends: the tags that end it.
    """

    def __init__(self, start: str, ends: tuple[str, ...]) -> None:
        self._ends = tuple(each.encode() for each in ends if each)
        self._start = start.encode() if self._ends else b""
        self._tail = b""  # the last bytes, which may be the beginning of a tag
        self.is_inside = False

    def add(self, data: bytes) -> bytes:
        """Adds a piece. Returns the text from the last tag on that ended the reasoning in this piece; b"" if none did."""
        if not self._start:
            return b""
        text, end = self._tail + data, b""
        while (found := self._next_tag(text)) is not None:
            at, size = found
            end = text[at:] if self.is_inside else b""
            self.is_inside = not self.is_inside
            text = text[at + size :]
        n_kept = max(map(len, self._ends if self.is_inside else (self._start,))) - 1
        self._tail = text[max(len(text) - n_kept, 0) :]
        return end

    def _next_tag(self, text: bytes) -> tuple[int, int] | None:
        """Returns place and size of the next tag; None if there is none."""
        tags = self._ends if self.is_inside else (self._start,)
        places = [(at, len(tag)) for tag in tags if (at := text.find(tag)) >= 0]
        return min(places, key=lambda each: (each[0], -each[1])) if places else None
