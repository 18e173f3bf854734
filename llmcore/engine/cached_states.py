"""States of prompts that are in an engine's cache, to be kept elsewhere and taken back."""

from __future__ import annotations

from collections.abc import Callable, Sized

from llmcore.scheduling.kv_cache import KVCache


class CachedStates:
    """Copies cells out of the cache, and back. A state that was taken in is a cached prefix like others: it can be evicted."""

    def __init__(self, cache: KVCache, fingerprint: Callable[[], str]) -> None:
        self._cache = cache
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        """Text that is the same only where states have the same meaning and layout."""
        return self._fingerprint()

    def save(self, tokens: list[int]) -> Sized | None:
        """Returns the cells of exactly these tokens, or None if the cache does not have all of them."""
        return self._cache.export_prefix(tokens)

    def load(self, tokens: list[int], state: Sized) -> bool:
        """Takes in a result of save(), undamaged and of the same fingerprint. Returns False if there is no room for it; nothing
        changes then."""
        return self._cache.has_prefix(tokens) or (
            self._cache.has_room(len(tokens)) and self._cache.adopt(tokens, state)
        )
