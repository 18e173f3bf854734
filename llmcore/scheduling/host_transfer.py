"""Moves sequences between slots and the host cache: what is evicted is saved, what a prompt needs is restored."""

from __future__ import annotations

from collections.abc import Callable

from llmcore.scheduling.host_cache import HostCache
from llmcore.scheduling.slots import Slots

# Waiting for, saving or loading fewer tokens than this costs more than computing them.
N_WORTH_IT = 16


class HostTransfer:
    """Saves and restores slots. `reserve(n)` makes n cells free, or returns False. `n_saved` and `n_restored` count states."""

    def __init__(self, slots: Slots, host: HostCache, reserve: Callable[[int], bool]) -> None:
        self._slots = slots
        self._host = host
        self._reserve = reserve
        self._memory = slots.memory
        self._scratch = len(slots)
        self._bytes_a_token = 0.0  # of a saved state, as last seen
        self.n_saved = 0
        self.n_restored = 0

    def n_known(self, tokens: list[int], tenant: int, n_have: int) -> int:
        """Number of `tokens` that can be had without computing them, given the first n_have."""
        return self._host.covered(tokens, tenant, n_have, whole=not self._memory.is_sliceable)

    def save(self, index: int) -> bool:
        """Copies to the host cache the part of a slot that is kept nowhere else. Returns True if all of it is kept now."""
        host, slot, memory = self._host, self._slots[index], self._memory
        if not memory.is_sliceable:
            start = 0
            if host.covered(slot.tokens, slot.tenant, 0, whole=True) == len(slot.tokens):
                return True
        else:
            start = host.covered(slot.tokens, slot.tenant, self._slots.ranges.n_shared(index))
        n = len(slot.tokens) - start
        if n < N_WORTH_IT:
            return True
        if n * self._bytes_a_token > host.n_bytes_max:
            return False
        if start == 0:
            blob = memory.save(index)
        else:
            memory.copy(index, self._scratch, start, len(slot.tokens))
            blob = memory.save(self._scratch)
            memory.clear(self._scratch)
        self._bytes_a_token = len(blob) / n
        self.n_saved += 1
        return host.put(slot.tokens, slot.tenant, start, blob)

    def restore(self, index: int, tokens: list[int]) -> None:
        """Loads what the host cache has of `tokens` behind the tokens that the slot has already."""
        host, slot, memory = self._host, self._slots[index], self._memory
        while True:
            n_have = len(slot.tokens)
            found = host.best(tokens, slot.tenant, n_have, whole=not memory.is_sliceable)
            if found is None or found[0] - n_have < N_WORTH_IT:
                return
            n, entry = found
            if not self._reserve(len(entry.tokens) - entry.start):
                return
            if memory.is_sliceable:
                is_loaded = memory.load(self._scratch, entry.blob)
                if is_loaded:
                    memory.copy(self._scratch, index, n_have, n)
                    memory.clear(self._scratch)
            else:
                self._slots.empty(index)
                n_have, is_loaded = 0, memory.load(index, entry.blob)
            if not is_loaded:
                host.drop(entry)
                continue
            self._slots.grow(index, entry.tokens[n_have:n])
            host.touch(entry)
            self.n_restored += 1
