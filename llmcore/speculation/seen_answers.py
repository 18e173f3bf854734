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
from llmcore.speculation.suffix_index import MATCH_MAX, Match, SuffixIndex

# Lengths of the runs that are indexed. One token alone tells too little in so much text.
_ORDERS = (8, 4, 2)

# Prompts are compared at every _BLOCK tokens, as many blocks from their ends: an old prompt's, a new one's.
_BLOCK = 16
_BLOCKS_OLD, _BLOCKS_NEW = 64, 128

# Bytes of a text beside its tokens.
_TEXT_BYTES = 512

# Values of the table: the number of an answer, and a place in it.
_AT_BITS = 24

_SALT = 0xA24BAED4963EE407
_PROMPT = 0  # the "order" of a prompt's beginnings


class Beginning(NamedTuple):
    """An answer whose prompt begins like another one. `n_apart` is the number of tokens behind that beginning, in the prompt that
    has more of them."""

    answer: Sequence[int]
    n_apart: int


@dataclass(frozen=True, eq=False)
class _Answer:
    tokens: array[int]
    tenant: int
    n_prompt: int

    @property
    def size_bytes(self) -> int:
        return self.tokens.itemsize * len(self.tokens) + _TEXT_BYTES


class SeenAnswers:
    """Takes at most size_bytes: half of them for an index of answers that is made at once, half for answers and pinned prefixes.
    Those have indexes of their own, so that new answers do not displace them."""

    def __init__(self, size_bytes: int) -> None:
        self._n_bits = max((size_bytes // 16).bit_length() - 1, 4)
        self._table = np.zeros(1 << self._n_bits, np.int64)
        self._room_bytes = max(size_bytes - self._table.nbytes, 0)  # of which pins may take half
        self._answers: OrderedDict[int, _Answer] = OrderedDict()  # by number, the least recently used first
        self._n_answers: Counter[int] = Counter()  # by tenant
        self._answers_bytes = 0
        self._pins: dict[str, SuffixIndex] = {}
        self._pins_bytes = 0
        self._n_made = 0

    def __len__(self) -> int:
        """Number of answers and pinned prefixes."""
        return len(self._answers) + len(self._pins)

    @property
    def size_bytes(self) -> int:
        """Bytes of index and texts."""
        return self._table.nbytes + self._answers_bytes + self._pins_bytes

    # --- Texts --------------------------------------------------------------------------------------------------------

    def add(self, tenant: int, prompt: Sequence[int], answer: Sequence[int]) -> None:
        """Remembers an answer. The same answer to a prompt alike is not kept twice."""
        known = self.beginning(tenant, prompt)
        if known is not None and len(known.answer) == len(answer) and all(map(int.__eq__, known.answer, answer)):
            return
        added = _Answer(array("i", answer), tenant, len(prompt))
        if 2 <= len(answer) < 1 << _AT_BITS and self._make_room(added.size_bytes):
            self._index(added, prompt)

    def pin(self, name: str, tokens: Sequence[int]) -> None:
        """Remembers a pinned prefix for all tenants, in place of an older one of that name, until unpin(). Prefixes that would take
        more than half of the room are passed over."""
        self.unpin(name)
        size_bytes = _pin_bytes(len(tokens))
        if len(tokens) < 2 or self._pins_bytes + size_bytes > self._room_bytes // 2 or not self._make_room(size_bytes):
            return
        self._pins[name] = SuffixIndex(array("i", tokens), len(tokens))
        self._pins[name].extend()
        self._pins_bytes += size_bytes

    def unpin(self, name: str) -> None:
        """Forgets a pinned prefix. Does nothing if there is none of that name."""
        pin = self._pins.pop(name, None)
        if pin is not None:
            self._pins_bytes -= _pin_bytes(pin.n_tokens)

    def drop_answers(self) -> None:
        """Forgets all answers. Pinned prefixes stay."""
        self._answers.clear()
        self._n_answers.clear()
        self._answers_bytes = 0

    # --- Finding ------------------------------------------------------------------------------------------------------

    def find(self, tenant: int, context: Sequence[int], n_longest: int = MATCH_MAX) -> Match | None:
        """Returns the longest match of a suffix of `context` in answers to a tenant and in pinned prefixes, or None. Of equal ones
        it is the last that was added. `n_longest` is an upper bound of its length, if one is known."""
        best = self._find(tenant, context, n_longest) if self._n_answers[tenant] else None
        for pin in self._pins.values():
            match = pin.find(context, n_longest)
            if match is not None and match.n > (best.n if best is not None else 1):
                best = match
        return best

    def beginning(self, tenant: int, prompt: Sequence[int]) -> Beginning | None:
        """Returns the last answer to a tenant whose prompt begins with as many of this prompt's tokens as possible, or None."""
        if not self._n_answers[tenant]:
            return None
        ends, found = _beginnings(prompt, _BLOCKS_NEW)
        values = self._table[places(found, _salt(tenant, _PROMPT), self._n_bits)]
        for end, value in zip(ends[::-1].tolist(), values[::-1].tolist(), strict=True):
            answer = self._answers.get(value >> _AT_BITS)
            at = value & ((1 << _AT_BITS) - 1)
            if answer is not None and answer.tenant == tenant and at == end <= answer.n_prompt:
                self._answers.move_to_end(value >> _AT_BITS)
                return Beginning(answer.tokens, max(len(prompt), answer.n_prompt) - end)
        return None

    def _find(self, tenant: int, context: Sequence[int], n_longest: int) -> Match | None:
        """Returns the longest match in answers to a tenant, or None."""
        end = len(context)
        for n in _ORDERS:
            if n > min(n_longest, end):
                continue
            value = int(self._table[place(key(context, end, n), _salt(tenant, n), self._n_bits)])
            number, at = value >> _AT_BITS, value & ((1 << _AT_BITS) - 1)
            answer = self._answers.get(number)
            if answer is None or answer.tenant != tenant or at >= len(answer.tokens):
                continue  # gone, or the entry of something else: a place of the table belongs to several keys
            n_match = n_alike(answer.tokens, at, context, end, MATCH_MAX)
            if n_match >= n:
                self._answers.move_to_end(number)
                return Match(answer.tokens, at, n_match)
        return None

    # --- Room ---------------------------------------------------------------------------------------------------------

    def _make_room(self, size_bytes: int) -> bool:
        """Forgets answers until size_bytes more fit. Returns False, with nothing forgotten, if they cannot fit."""
        left_bytes = self._room_bytes - self._pins_bytes - size_bytes
        if left_bytes < 0:
            return False
        while self._answers_bytes > left_bytes:
            self._drop(self._answers.popitem(last=False)[1])
        return True

    def _index(self, answer: _Answer, prompt: Sequence[int]) -> None:
        """Adds an answer. Runs at its end have nothing behind them, and are left out of the index."""
        self._n_made += 1
        self._answers[self._n_made] = answer
        self._n_answers[answer.tenant] += 1
        self._answers_bytes += answer.size_bytes
        number = self._n_made << _AT_BITS
        for n, found in keys(answer.tokens[:-1]):
            if n in _ORDERS:
                at = np.arange(n, n + len(found), dtype=np.int64)
                self._table[places(found, _salt(answer.tenant, n), self._n_bits)] = number + at
        ends, found = _beginnings(prompt, _BLOCKS_OLD)
        self._table[places(found, _salt(answer.tenant, _PROMPT), self._n_bits)] = number + ends

    def _drop(self, answer: _Answer) -> None:
        """Counts an answer off. Places of the index that name it point to nothing from now on."""
        self._answers_bytes -= answer.size_bytes
        self._n_answers[answer.tenant] -= 1
        if not self._n_answers[answer.tenant]:
            del self._n_answers[answer.tenant]


def _pin_bytes(n_tokens: int) -> int:
    return SuffixIndex.size_for(n_tokens) + 4 * n_tokens + _TEXT_BYTES


def _salt(tenant: int, n: int) -> int:
    return ((tenant + 1) * 32 + n) * _SALT & (2**64 - 1)


def _beginnings(prompt: Sequence[int], n_blocks: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Returns the last n_blocks lengths of whole blocks of a prompt, and the keys of its beginnings of these lengths."""
    n = len(prompt) // _BLOCK
    ends = np.arange(max(n - n_blocks, 0) + 1, n + 1, dtype=np.int64) * _BLOCK
    return ends, prefix_keys(prompt)[ends - 1]
