"""Common prefixes of token lists. Knows token ids only."""

from __future__ import annotations

from collections.abc import Sequence as Tokens


def common_prefix(a: Tokens[int], b: Tokens[int]) -> int:
    """Length of the longest common prefix, by comparing slices (which is fast for lists) and halving where they differ."""
    high = min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    low = 0  # a[:low] == b[:low], and a[:high] != b[:high]
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low
