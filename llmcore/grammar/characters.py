"""Sets of characters as sorted ranges of code points, and the regular expressions that match one of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

Ranges = tuple[tuple[int, int], ...]

_LAST = 0x10FFFF
# Code points that no text contains: NUL ends text in llama.cpp, and surrogates are not characters.
_NEVER: Ranges = ((0, 0), (0xD800, 0xDFFF))


def is_character(code: int) -> bool:
    """Returns True if a text may contain this code point."""
    return 0 < code <= _LAST and not 0xD800 <= code <= 0xDFFF


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Returns the same set, sorted, without overlaps, and without code points that no text contains."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted((low, min(high, _LAST)) for low, high in ranges if low <= _LAST):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return _without(tuple(merged), _NEVER)


def complement(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Returns all characters except these."""
    return _without(_without(((0, _LAST),), joined(ranges)), _NEVER)


def regex(ranges: Ranges) -> str:
    """Returns a regular expression, in the syntax of Rust's regex crate, that matches one character of the set."""
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
