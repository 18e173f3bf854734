"""Memory of answers that have ended or were cancelled, and of pinned prefixes. One tenant never finds what another one has said.

The answers of all tenants share one bounded memory; the least recently used ones go. They are found by the last tokens of a
context, and by the prompt that they answered: a caller who says two more words asks almost the same question again.
"""

from __future__ import annotations

from array import array
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmcore.speculation.ngrams import key, keys, n_alike, place, places, prefix_keys
from llmcore.speculation.suffix_index import MATCH_MAX, Match

# Lengths of the runs that are indexed. One token alone tells too little in so much text.
_ORDERS = (8, 4, 2)

# Prompts are compared at every _BLOCK tokens, as many blocks from their ends: an old prompt's, a new one's.
_BLOCK = 16
_BLOCKS_OLD, _BLOCKS_NEW = 64, 128

# Bytes of a text beside its tokens.
_TEXT_BYTES = 512

# Values of the table: the number of a text, and a place in it.
_AT_BITS = 24

# Scope of pinned prefixes, which all tenants share. Tenants are numbered from 0.
_PINNED = -1
_SALT = 0xA24BAED4963EE407
_PROMPT = 0  # the "order" of a prompt's beginnings


class Beginning(NamedTuple):
    """An answer whose prompt begins like another one. `n_apart` is the number of tokens behind that beginning, in the prompt that
    has more of them."""

    answer: Sequence[int]
    n_apart: int


@dataclass(frozen=True, eq=False)
class _Text:
    tokens: array[int]
    scope: int
    n_prompt: int = 0

    @property
    def size_bytes(self) -> int:
        return self.tokens.itemsize * len(self.tokens) + _TEXT_BYTES


class SeenAnswers:
    """Takes at most size_bytes: half of them for an index that is made at once, half for texts."""

    def __init__(self, size_bytes: int) -> None:
        self._n_bits = max((size_bytes // 16).bit_length() - 1, 4)
        self._table = np.zeros(1 << self._n_bits, np.int64)
        self._room_bytes = max(size_bytes - self._table.nbytes, 0)
        self._texts: OrderedDict[int, _Text] = OrderedDict()  # answers by number, the least recently used first
        self._pins: dict[str, int] = {}
        self._pinned: dict[int, _Text] = {}
        self._n_texts: Counter[int] = Counter()  # by scope
        self._texts_bytes = 0
        self._n_made = 0

    def __len__(self) -> int:
        """Number of answers and pinned prefixes."""
        return len(self._texts) + len(self._pinned)

    @property
    def size_bytes(self) -> int:
        """Bytes of index and texts."""
        return self._table.nbytes + self._texts_bytes

    # --- Texts --------------------------------------------------------------------------------------------------------

    def add(self, tenant: int, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """Remembers an answer. The same answer to a prompt alike is not kept twice."""
        known = self.beginning(tenant, prompt)
        if known is not None and len(known.answer) == len(answer) and all(map(int.__eq__, known.answer, answer)):
            return
        text = _Text(array("i", answer), tenant, len(prompt))
        if len(answer) < 2 or not self._make_room(text):
            return
        number = self._index(text)
        self._texts[number] = text
        ends, found = _beginnings(prompt, _BLOCKS_OLD)
        self._table[places(found, _salt(tenant, _PROMPT), self._n_bits)] = (number << _AT_BITS) + ends

    def pin(self, name: str, tokens: Sequence[int]) -> None:
        """Remembers a pinned prefix for all tenants, in place of an older one of that name, until unpin(). One for which room
        could only be made by forgetting others is passed over."""
        self.unpin(name)
        text = _Text(array("i", tokens), _PINNED)
        if self._pinned_bytes + text.size_bytes > self._room_bytes // 2 or not self._make_room(text):
            return
        self._pins[name] = number = self._index(text)
        self._pinned[number] = text

    def unpin(self, name: str) -> None:
        """Forgets a pinned prefix. Does nothing if there is none of that name."""
        number = self._pins.pop(name, None)
        if number is not None:
            self._drop(self._pinned.pop(number))

    # --- Finding ------------------------------------------------------------------------------------------------------

    def find(self, tenant: int, context: Sequence[int], n_longest: int = MATCH_MAX) -> Match | None:
        """Returns the longest match of a suffix of `context` in answers to a tenant and in pinned prefixes, or None. Of equal ones
        it is the last that was added. `n_longest` is an upper bound of its length, if one is known."""
        matches = [self._find(scope, context, n_longest) for scope in (tenant, _PINNED) if self._n_texts[scope]]
        return max(filter(None, matches), key=lambda each: each.n, default=None)

    def beginning(self, tenant: int, prompt: Sequence[int]) -> Beginning | None:
        """Returns the last answer to a tenant whose prompt begins with as many of this prompt's tokens as possible, or None."""
        if not self._n_texts[tenant]:
            return None
        ends, found = _beginnings(prompt, _BLOCKS_NEW)
        values = self._table[places(found, _salt(tenant, _PROMPT), self._n_bits)]
        for end, value in zip(ends[::-1].tolist(), values[::-1].tolist(), strict=True):
            text = self._texts.get(value >> _AT_BITS)
            if text is not None and text.scope == tenant and value & ((1 << _AT_BITS) - 1) == end <= text.n_prompt:
                self._texts.move_to_end(value >> _AT_BITS)
                return Beginning(text.tokens, max(len(prompt), text.n_prompt) - end)
        return None

    def _find(self, scope: int, context: Sequence[int], n_longest: int) -> Match | None:
        end = len(context)
        for n in _ORDERS:
            if n > min(n_longest, end):
                continue
            value = int(self._table[place(key(context, end, n), _salt(scope, n), self._n_bits)])
            number, at = value >> _AT_BITS, value & ((1 << _AT_BITS) - 1)
            text = self._pinned.get(number) if scope == _PINNED else self._texts.get(number)
            if text is None or text.scope != scope:
                continue
            n_match = n_alike(text.tokens, at, context, end, MATCH_MAX)
            if n_match >= n:
                if scope != _PINNED:
                    self._texts.move_to_end(number)
                return Match(text.tokens, at, n_match)
        return None

    # --- Room ---------------------------------------------------------------------------------------------------------

    @property
    def _pinned_bytes(self) -> int:
        return sum(each.size_bytes for each in self._pinned.values())

    def _make_room(self, text: _Text) -> bool:
        """Forgets answers until a text fits. Returns False, with nothing forgotten, if it cannot fit."""
        if len(text.tokens) >= 1 << _AT_BITS or self._pinned_bytes + text.size_bytes > self._room_bytes:
            return False
        while self._texts_bytes + text.size_bytes > self._room_bytes:
            self._drop(self._texts.popitem(last=False)[1])
        return True

    def _index(self, text: _Text) -> int:
        """Indexes a text, and returns its number. Runs at its end have nothing behind them, and are left out."""
        self._n_made += 1
        self._texts_bytes += text.size_bytes
        self._n_texts[text.scope] += 1
        for n, found in keys(text.tokens[:-1]):
            if n in _ORDERS:
                at = np.arange(n, n + len(found), dtype=np.int64)
                self._table[places(found, _salt(text.scope, n), self._n_bits)] = (self._n_made << _AT_BITS) + at
        return self._n_made

    def _drop(self, text: _Text) -> None:
        """Counts a text off. What the index has of it points to nothing from now on."""
        self._texts_bytes -= text.size_bytes
        self._n_texts[text.scope] -= 1
        if not self._n_texts[text.scope]:
            del self._n_texts[text.scope]


def _salt(scope: int, n: int) -> int:
    return ((scope + 2) * 32 + n) * _SALT & (2**64 - 1)


def _beginnings(prompt: Sequence[int], n_blocks: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Returns the last n_blocks lengths of whole blocks of a prompt, and the keys of its beginnings of these lengths."""
    n = len(prompt) // _BLOCK
    ends = np.arange(max(n - n_blocks, 0) + 1, n + 1, dtype=np.int64) * _BLOCK
    return ends, prefix_keys(prompt)[ends - 1]
