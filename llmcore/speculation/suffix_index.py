"""Index of a text by runs of its tokens: where the last tokens of a context occur in it.

For runs of 1, 2, 4, 8 and 16 tokens there is a table from the hash of a run to the place behind its last occurrence. Of two runs
with the same place in a table, the later one stays. What a table gives is compared with the text, so a collision costs a match and
never gives a wrong one. A text that outgrows its tables loses more matches. A search takes the longest run that is found; its time
does not depend on the length of the text. Tables take 40 to 80 bytes for a token. A long prompt is indexed by a few operations
on whole arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmcore.speculation.ngrams import ORDERS, key, keys, n_alike, place, places

# Longer matches are not told apart.
MATCH_MAX = 32

# From so many tokens on, they are indexed by operations on arrays.
_ARRAY_MIN = 48

_BITS_MIN = 8


class Match(NamedTuple):
    """The `n` tokens before `text[at]` are the last ones of a context; n is at most MATCH_MAX."""

    text: Sequence[int]
    at: int
    n: int


class SuffixIndex:
    """Index of one text, which may grow at its end. Tables have their best size up to n_tokens tokens. The text is not copied."""

    def __init__(self, text: Sequence[int], n_tokens: int) -> None:
        self.n_tokens = n_tokens
        self._text = text
        self._n_bits = _n_bits(n_tokens)
        self._tables = np.zeros((len(ORDERS), 1 << self._n_bits), np.int32)
        self._rows = [memoryview(row) for row in self._tables]  # type: ignore[arg-type]  # faster for one place
        self._n_indexed = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the tables."""
        return self._tables.nbytes

    @staticmethod
    def size_for(n_tokens: int) -> int:
        """Bytes of the tables of a text of n_tokens tokens."""
        return len(ORDERS) * 4 << _n_bits(n_tokens)

    def extend(self) -> None:
        """Indexes what the text has grown by since the last call. Runs that end with the text have nothing behind them, and are
        left out."""
        n = len(self._text) - 1
        if n - self._n_indexed >= _ARRAY_MIN:
            self._add_many(n)
        else:
            for end in range(self._n_indexed + 1, n + 1):
                self._add(end)
        self._n_indexed = max(n, self._n_indexed)

    def find(self, context: Sequence[int], n_longest: int = MATCH_MAX) -> Match | None:
        """Returns a match of the longest suffix of `context` that the tables have, at its last occurrence, or None.

        Args:
            n_longest: an upper bound of its length, if one is known: longer runs are not looked up.
        """
        text, n_context = self._text, len(context)
        n_longest = min(n_longest, n_context)
        for row in range(len(ORDERS) - 1, -1, -1):
            n = ORDERS[row]
            if n > n_longest:
                continue
            at = self._rows[row][place(key(context, n_context, n), n, self._n_bits)]
            if at and (n_match := n_alike(text, at, context, n_context, MATCH_MAX)) >= n:
                return Match(text, at, n_match)
        return None

    def _add(self, end: int) -> None:
        text, n_bits = self._text, self._n_bits
        for row, n in zip(self._rows, ORDERS, strict=True):
            if n > end:
                return
            row[place(key(text, end, n), n, n_bits)] = end

    def _add_many(self, n: int) -> None:
        first = max(self._n_indexed - ORDERS[-1], 0)
        ends = np.arange(first, n + 1, dtype=np.int32)
        for row, (order, found) in enumerate(keys(self._text[first:n])):
            self._tables[row, places(found, order, self._n_bits)] = ends[order:]


def _n_bits(n_tokens: int) -> int:
    """Number of bits of a place: there are at least two places for a token."""
    return max((2 * max(n_tokens, 1) - 1).bit_length(), _BITS_MIN)
