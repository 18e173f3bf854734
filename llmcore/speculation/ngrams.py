"""Hashes of runs of tokens, one at a time or for all places of a text.

The key of n tokens is a polynomial of them modulo 2**64, the last token having the power 0. So the keys of 2n tokens follow from
those of n: key(2n tokens) = key(last n) + M**n · key(n before them).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import mul

import numpy as np
import numpy.typing as npt

# Lengths of runs that are hashed: each twice the one before.
ORDERS = (1, 2, 4, 8, 16)

_MASK = 2**64 - 1
_M = 0x9E3779B97F4A7C15
_MIX = 0xD6E8FEB86659FD93
_POWERS = tuple(pow(_M, k, 2**64) for k in range(ORDERS[-1]))
_FALLING = {n: _POWERS[n - 1 :: -1] for n in ORDERS}


def key(tokens: Sequence[int], end: int, n: int) -> int:
    """Returns the key of the n tokens before `end`. n is one of ORDERS, and n <= end."""
    total: int = sum(map(mul, tokens[end - n : end], _FALLING[n]))
    return total & _MASK


def keys(tokens: Sequence[int]) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
    """Yields (n, keys) for each n of ORDERS that the text has so many tokens for. keys[i] is that of the n tokens before n + i."""
    found, n = np.array(tokens, np.uint64), 1
    while n in ORDERS and n <= len(tokens):
        yield n, found
        if 2 * n > len(tokens):
            return
        found = found[n:] + found[:-n] * np.uint64(pow(_M, n, 2**64))
        n *= 2


def prefix_keys(tokens: Sequence[int]) -> npt.NDArray[np.uint64]:
    """Returns the keys of all beginnings of a text: keys[i] is that of its first i + 1 tokens. They are not those of key()."""
    powers = np.cumprod(np.full(len(tokens), _M, np.uint64))
    return np.cumsum(np.array(tokens, np.uint64) * powers)


def place(key: int, salt: int, n_bits: int) -> int:
    """Returns the place of a key in a table of 2**n_bits places. Keys with different salts have different places."""
    return (((key ^ salt) * _MIX) & _MASK) >> (64 - n_bits)


def places(keys: npt.NDArray[np.uint64], salt: int, n_bits: int) -> npt.NDArray[np.intp]:
    """Returns place() of each key."""
    mixed = (keys ^ np.uint64(salt)) * np.uint64(_MIX)
    return np.asarray(mixed >> np.uint64(64 - n_bits), np.intp)


def n_alike(one: Sequence[int], one_end: int, other: Sequence[int], other_end: int, n_max: int) -> int:
    """Length of the longest common suffix of one[:one_end] and other[:other_end], at most n_max."""
    n = 0
    n_max = min(n_max, one_end, other_end)
    while n < n_max and one[one_end - 1 - n] == other[other_end - 1 - n]:
        n += 1
    return n
