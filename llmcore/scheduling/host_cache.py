"""Evicted sequences in host memory, within a byte budget. Knows tokens and opaque blobs, not the content of a blob.

An entry holds the state of tokens[start:] of a sequence. The tokens before `start` are kept elsewhere: by a sequence in the KV
cache that shares them, or by another entry. So a conversation that is evicted after each turn costs its tokens once, not once a
turn. Entries of one tenant are never found by another.

    entry 0   [0 ─────────── 2000)                     a shared system prompt
    entry 1                   [2000 ── 2300)           one caller's first turn
    entry 2                             [2300 ─ 2350)  and the second
"""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass

from llmcore.scheduling.tenant_trees import TenantTrees

# Cost of computing tokens[start:end] of a sequence, in any unit.
Cost = Callable[[int, int], float]


def by_count(start: int, end: int) -> float:
    """The plainest cost: each token costs the same."""
    return float(end - start)


@dataclass(eq=False)
class HostEntry:
    """State of tokens[start:] (`blob`). `credit` is how much it is worth keeping (see HostCache), `used` the tick of its last
    use."""

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

    The entry to evict is chosen by GreedyDual-Size (Cao and Irani, USITS 1997): an entry's credit is its cost per byte plus the
    credit of what was last evicted, renewed by each use. The entry with the least credit goes; among equals the least recently
    used one.
    """

    def __init__(self, n_bytes_max: int, cost: Cost = by_count) -> None:
        self.n_bytes_max = n_bytes_max
        self.n_bytes = 0
        self._cost = cost
        self._entries: dict[int, HostEntry] = {}
        self._trees = TenantTrees()
        self._n_made = 0
        self._tick = 0
        self._level = 0.0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, tokens: list[int], tenant: int, start: int, blob: Sized) -> bool:
        """Keeps a copy of `tokens` with the state of tokens[start:]. Returns False if it is larger than the whole budget."""
        if len(blob) > self.n_bytes_max:
            return False
        for key in [each for n, each in self._trees.matches(tenant, tokens) if n == len(tokens)]:
            old = self._entries[key]
            if len(old.tokens) == len(tokens) and old.start >= start:
                self._remove(key)
        while self.n_bytes + len(blob) > self.n_bytes_max:
            victim = min(self._entries, key=lambda key: (self._entries[key].credit, self._entries[key].used))
            self._level = self._entries[victim].credit
            self._remove(victim)
        entry = HostEntry(list(tokens), start, blob)
        self.touch(entry)
        self._entries[self._n_made] = entry
        self._trees.insert(self._n_made, tenant, tokens)
        self._n_made += 1
        self.n_bytes += entry.n_bytes
        return True

    def best(self, tokens: list[int], tenant: int, n_have: int, *, whole: bool = False) -> tuple[int, HostEntry] | None:
        """Returns (n, entry) of the entry that reaches furthest beyond the first `n_have` tokens, to token n; None if none does.

        Args:
            whole: consider only entries that begin at 0 and of which every token matches.
        """
        for n, key in self._trees.matches(tenant, tokens):
            if n <= n_have:
                return None
            entry = self._entries[key]
            if entry.start <= (0 if whole else n_have) and (not whole or n == len(entry.tokens)):
                return n, entry
        return None

    def covered(self, tokens: list[int], tenant: int, n_have: int, *, whole: bool = False) -> int:
        """Number of `tokens` that are at hand, given the first n_have, with one entry continuing the other."""
        while (found := self.best(tokens, tenant, n_have, whole=whole)) is not None:
            n_have = found[0]
        return n_have

    def touch(self, entry: HostEntry) -> None:
        """Records a use of an entry, which renews its credit."""
        self._tick += 1
        entry.used = self._tick
        entry.credit = self._level + self._cost(entry.start, len(entry.tokens)) / max(entry.n_bytes, 1)

    def drop(self, entry: HostEntry) -> None:
        """Forgets an entry that cannot be loaded."""
        for key, each in self._entries.items():
            if each is entry:
                self._remove(key)
                return

    def clear(self) -> None:
        for key in list(self._entries):
            self._remove(key)

    def entries(self) -> list[HostEntry]:
        return list(self._entries.values())

    def _remove(self, key: int) -> None:
        self.n_bytes -= self._entries.pop(key).n_bytes
        self._trees.remove(key)
