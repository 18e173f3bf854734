"""A memory that really counts cells, as llama.cpp's unified buffer has them, and sequences to compute in it."""

from __future__ import annotations

from collections.abc import Sized

from llmcore.scheduling.host_cache import HostCache
from llmcore.scheduling.kv_cache import KVCache
from llmcore.sequence import Sequence


class CountingMemory:
    """Cells as llama.cpp's unified buffer has them: a cell is a position's token, with the set of its slots. A saved state is
    a tuple of them. `window`: a sliding one; going back further than that finds cells missing."""

    def __init__(self, *, is_cuttable: bool = True, window: int | None = None, skips_foreign: bool = False) -> None:
        self.is_cuttable = is_cuttable
        self.skips_foreign = skips_foreign
        self.is_sliceable = is_cuttable and window is None
        self.window = window
        self.cells: list[tuple[int, int, set[int]]] = []  # (position, token, slots)
        self.n_loads_refused = 0

    def compute(self, slot: int, start: int, tokens: list[int]) -> None:
        assert start == len(self.tokens(slot)), "positions follow one another"
        self.cells += [(start + i, token, {slot}) for i, token in enumerate(tokens)]

    def held(self, slot: int) -> list[tuple[int, int]]:
        return sorted((position, token) for position, token, slots in self.cells if slot in slots)

    def tokens(self, slot: int) -> list[int]:
        held = self.held(slot)
        assert [position for position, _ in held] == list(range(len(held)))
        return [token for _, token in held]

    @property
    def n_used(self) -> int:
        return len(self.cells)

    def can_cut(self, slot: int, n: int) -> bool:
        return self.is_cuttable and (self.window is None or len(self.tokens(slot)) - n <= self.window)

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        assert self.is_cuttable or (start, end) == (0, len(self.tokens(source))), "a state is copied whole"
        assert len(self.held(target)) in (0, start), "a copy goes behind what is there"
        for position, _, slots in self.cells:
            if source in slots and start <= position < end:
                slots.add(target)

    def truncate(self, slot: int, n: int) -> bool:
        if not self.is_cuttable and 0 < n < len(self.tokens(slot)):
            return False
        for position, _, slots in self.cells:
            if position >= n:
                slots.discard(slot)
        self.cells = [cell for cell in self.cells if cell[2]]
        return True

    def clear(self, slot: int) -> None:
        for _, _, slots in self.cells:
            slots.discard(slot)
        self.cells = [cell for cell in self.cells if cell[2]]

    def save(self, slot: int) -> tuple[tuple[int, int], ...]:
        held = self.held(slot)
        assert held, "nothing is never saved"
        return tuple(held)

    def load(self, slot: int, blob: Sized) -> bool:
        assert not self.held(slot), "a state goes into an empty slot"
        assert isinstance(blob, tuple)
        if self.n_loads_refused:
            self.n_loads_refused -= 1
            return False
        self.cells += [(position, token, {slot}) for position, token in blob]
        return True


def sequence(tokens: list[int], name: str = "s") -> Sequence:
    return Sequence(name, list(tokens), n_prompt=len(tokens), n_tokens_max=10**6)


def compute(cache: KVCache, memory: CountingMemory, each: Sequence) -> None:
    n = each.n_remaining
    assert cache.reserve(n)
    memory.compute(each.slot, each.n_computed, each.tokens[each.n_computed :])
    cache.append(each, n)


def run(cache: KVCache, memory: CountingMemory, tokens: list[int]) -> Sequence:
    each = sequence(tokens)
    assert cache.acquire(each)
    compute(cache, memory, each)
    return each


def with_host(memory: CountingMemory, *, n_cells: int = 100, n_slots: int = 4, n_bytes: int = 10_000) -> KVCache:
    return KVCache(memory, n_slots=n_slots, n_cells=n_cells, host=HostCache(n_bytes))
