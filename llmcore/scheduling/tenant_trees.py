"""Token sequences of several tenants, with one radix tree for each, so that no tenant finds what another one has said."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Tokens

from llmcore.scheduling.radix_tree import RadixTree


class TenantTrees:
    """Keys (numbers that are unique over all tenants) and their token sequences, one each."""

    def __init__(self) -> None:
        self._trees: dict[int, RadixTree] = {}
        self._tenants: dict[int, int] = {}  # by key

    def __len__(self) -> int:
        return len(self._tenants)

    def insert(self, key: int, tenant: int, tokens: Tokens[int]) -> None:
        """Makes `tokens` of `tenant` the sequence of `key`, in place of an earlier one."""
        self.remove(key)
        self._trees.setdefault(tenant, RadixTree()).insert(key, tokens)
        self._tenants[key] = tenant

    def remove(self, key: int) -> None:
        """Forgets a key. Does nothing if there is no such key."""
        tenant = self._tenants.pop(key, None)
        if tenant is None:
            return
        tree = self._trees[tenant]
        tree.remove(key)
        if not len(tree):
            del self._trees[tenant]

    def matches(self, tenant: int, tokens: Tokens[int]) -> Iterator[tuple[int, int]]:
        """Yields (n, key) for each sequence of `tenant` that has its first n > 0 tokens in common with `tokens`, the longest
        first; equals by key."""
        tree = self._trees.get(tenant)
        return iter(()) if tree is None else tree.matches(tokens)
