"""Evicted sequences in host memory, within a byte budget. Knows tokens and opaque blobs, not what is in them.

An entry holds the state of tokens[start:] of a sequence; its beginning is somebody else's: a sequence in the KV cache that
shares it, or another entry. So a conversation that is evicted after each turn costs its tokens once, not once a turn.

    entry 0   [0 ─────────── 2000)                     a shared system prompt
    entry 1                   [2000 ── 2300)           one caller's first turn
    entry 2                             [2300 ─ 2350)  and the second
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass

from llmcore.scheduling.radix_tree import RadixTree

# What computing tokens[start:end] of a sequence costs, in any unit.
Cost = Callable[[int, int], float]


def by_count(start: int, end: int) -> float:
    """The plainest cost: each token costs the same."""
    return float(end - start)


@dataclass(eq=False)
class HostEntry:
    """`blob` is the state of tokens[start:], `credit` how much it is worth to keep (see HostCache), `used` when it was last."""

    tokens: list[int]
    start: int
    blob: Sized
    credit: float = 0.0
    used: int = 0

    @property
    def n_bytes(self) -> int:
        return len(self.blob)


class HostCache:
    """Invariant: n_bytes, the sum over all entries, never exceeds n_bytes_max.

    What goes first is chosen by GreedyDual-Size (Cao and Irani, USITS 1997): an entry's credit is its cost for each byte plus
    the credit of what was last evicted, renewed by each use; among equals the least recently used goes.
    """

    def __init__(self, n_bytes_max: int, cost: Cost = by_count) -> None:
        self.n_bytes_max = n_bytes_max
        self.n_bytes = 0
        self._cost = cost
        self._entries: dict[int, HostEntry] = {}
        self._tree = RadixTree()
        self._n_made = 0
        self._tick = 0
        self._level = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, tokens: list[int], start: int, blob: Sized) -> bool:
        """Keeps a copy of `tokens` with the state of tokens[start:]. False if it is larger than the whole budget."""
        if len(blob) > self.n_bytes_max:
            return False
        for holder in [each for n, each in self._tree.matches(tokens) if n == len(tokens)]:
            old = self._entries[holder]
            if len(old.tokens) == len(tokens) and old.start >= start:
                self._remove(holder)
        while self.n_bytes + len(blob) > self.n_bytes_max:
            victim = min(self._entries, key=lambda holder: (self._entries[holder].credit, self._entries[holder].used))
            self._level = self._entries[victim].credit
            self._remove(victim)
        entry = HostEntry(list(tokens), start, blob)
        self.touch(entry)
        self._entries[self._n_made] = entry
        self._tree.insert(self._n_made, tokens)
        self._n_made += 1
        self.n_bytes += entry.n_bytes
        return True

    def best(self, tokens: list[int], n_have: int, *, whole: bool = False) -> tuple[int, HostEntry] | None:
        """(n, entry): the entry that reaches furthest beyond the first `n_have` tokens, and how far; None if none does.

        whole: only entries of which every token matches, and that begin at 0.
        """
        for n, holder in self._tree.matches(tokens):
            if n <= n_have:
                return None
            entry = self._entries[holder]
            if entry.start <= (0 if whole else n_have) and (not whole or n == len(entry.tokens)):
                return n, entry
        return None

    def covered(self, tokens: list[int], n_have: int, *, whole: bool = False) -> int:
        """How many of `tokens` there are, with the entries one after another, for somebody who has the first n_have."""
        while (found := self.best(tokens, n_have, whole=whole)) is not None:
            n_have = found[0]
        return n_have

    def touch(self, entry: HostEntry) -> None:
        """It was of use just now."""
        self._tick += 1
        entry.used = self._tick
        entry.credit = self._level + self._cost(entry.start, len(entry.tokens)) / max(entry.n_bytes, 1)

    def drop(self, entry: HostEntry) -> None:
        """Forgets an entry that turned out to be of no use."""
        for holder, each in self._entries.items():
            if each is entry:
                self._remove(holder)
                return

    def clear(self) -> None:
        for holder in list(self._entries):
            self._remove(holder)

    def entries(self) -> list[HostEntry]:
        return list(self._entries.values())

    def _remove(self, holder: int) -> None:
        self.n_bytes -= self._entries.pop(holder).n_bytes
        self._tree.remove(holder)
