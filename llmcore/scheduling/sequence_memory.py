"""The native memory of sequences, as the cache's policy sees it."""

from __future__ import annotations

from collections.abc import Sized
from typing import Protocol


class SequenceMemory(Protocol):
    """Slots 0 to n_slots of a native memory. The cache uses slots 0 to n_slots - 1; the last one is scratch.

    Implemented by llama/kv_memory.py, and by a counting memory in tests.
    """

    @property
    def is_cuttable(self) -> bool:
        """True if a sequence can go back to an earlier token. A recurrent state cannot."""

    @property
    def is_sliceable(self) -> bool:
        """True if a part of a sequence can be saved and loaded. With a sliding window or a recurrent state only the whole can."""

    @property
    def skips_foreign(self) -> bool:
        """True if a row's attention costs its own cells only, not all cells in the buffer."""

    def can_cut(self, slot: int, n: int) -> bool:
        """Returns True if the first n positions of a slot are complete, so that they can be kept or copied without the rest."""

    def copy(self, source: int, target: int, start: int, end: int) -> None:
        """Makes positions [start, end) of `source` part of `target` too. A memory that is not cuttable copies everything."""

    def truncate(self, slot: int, n: int) -> bool:
        """Keeps the first n positions. Returns False, with nothing changed, if the memory cannot do that."""

    def clear(self, slot: int) -> None:
        """Removes all positions of a slot."""

    def save(self, slot: int) -> Sized:
        """Returns the state of a slot as an opaque block of bytes."""

    def load(self, slot: int, blob: Sized) -> bool:
        """Fills an empty slot with a saved state. Returns False, with the slot empty, if that fails."""
