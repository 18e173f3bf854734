"""Sets of characters as sorted ranges of code points, and the regular expressions that match one of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Ranges = tuple[tuple[int, int], ...]

_LAST = 0x10FFFF
# NUL ends text in llama.cpp, and surrogates are no characters: no text holds either.
_NEVER: Ranges = ((0, 0), (0xD800, 0xDFFF))


def is_character(code: int) -> bool:
    """Whether a text may hold it."""
    return 0 < code <= _LAST and not 0xD800 <= code <= 0xDFFF


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same set, sorted and without overlaps, as far as it is of characters."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted((low, min(high, _LAST)) for low, high in ranges if low <= _LAST):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return _without(tuple(merged), _NEVER)


def complement(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """All characters but these."""
    return _without(_without(((0, _LAST),), joined(ranges)), _NEVER)


def regex(ranges: Ranges) -> str:
    """A regular expression, in the syntax of Rust's regex crate, that matches one character of the set."""
    return "[" + "".join(_item(low, high) for low, high in ranges) + "]"


def _item(low: int, high: int) -> str:
    return f"\\x{{{low:x}}}" if low == high else f"\\x{{{low:x}}}-\\x{{{high:x}}}"


def _without(ranges: Ranges, excluded: Ranges) -> Ranges:
    left = list(ranges)
    for low, high in excluded:
        cut: list[tuple[int, int]] = []
        for first, last in left:
            cut += [(first, min(last, low - 1)), (max(first, high + 1), last)]
        left = [(first, last) for first, last in cut if first <= last]
    return tuple(left)


ANY = complement(())
