"""Size of a regular expression with its repetitions expanded, as llama.cpp's matcher processes it. Pure.

A part that may be empty, within a counted repetition, can be left out in as many ways as there are rounds: it counts with the
square of their number.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# Larger patterns are refused.
SIZE_MAX = 2000
DEPTH_MAX = 50

_COUNTS = re.compile(r"\{(\d*)(,?)(\d*)\}")


class _Part(NamedTuple):
    size: int
    may_be_empty: bool


def pattern_size(pattern: str) -> int:
    """Returns the size; at least SIZE_MAX + 1 if groups are nested too deeply."""
    try:
        return _PatternReader(pattern).alternatives(0).size
    except RecursionError:
        return SIZE_MAX + 1


class _PatternReader:
    """Reads the syntax that llama.cpp knows; everything else is a literal character."""

    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0

    def alternatives(self, depth: int) -> _Part:
        """Reads alternatives up to the end of a group, or of the pattern."""
        if depth > DEPTH_MAX:
            raise RecursionError
        found, branch = [], _Part(0, True)
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._text[self._at] == "|":
                self._at += 1
                found.append(branch)
                branch = _Part(0, True)
                continue
            part = self._repeated(self._atom(depth))
            branch = _Part(branch.size + part.size, branch.may_be_empty and part.may_be_empty)
        found.append(branch)
        return _Part(sum(each.size for each in found), any(each.may_be_empty for each in found))

    def _atom(self, depth: int) -> _Part:
        text, start = self._text, self._at
        self._at += 1
        if text[start] == "(":
            if text.startswith("?:", self._at):
                self._at += 2
            part = self.alternatives(depth + 1)
            self._at += 1
            return _Part(part.size + 1, part.may_be_empty)
        if text[start] == "[":
            while self._at < len(text) and text[self._at] != "]":
                self._at += 2 if text[self._at] == "\\" else 1
            self._at += 1
        elif text[start] == "\\":
            self._at += 1
        return _Part(1, text[start] in "^$")

    def _repeated(self, part: _Part) -> _Part:
        """Returns a part with the quantifiers that follow it."""
        while self._at < len(self._text):
            least, most = 0, 1
            counts = _COUNTS.match(self._text, self._at)
            if counts:
                self._at = counts.end()
                least = int(counts[1] or 0)
                most = max(int(counts[3] or 0), least, 1)
            elif self._text[self._at] in "?*+":
                least = int(self._text[self._at] == "+")
                self._at += 1
            else:
                break
            factor = most * most if part.may_be_empty else most
            part = _Part(min(part.size * factor, SIZE_MAX + 1), part.may_be_empty or least == 0)
        return part
