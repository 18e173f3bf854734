"""Bytes that several pieces may take together."""

from __future__ import annotations


class MemoryBudget:
    """Counts bytes against a bound."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.used_bytes = 0

    def take(self, n_bytes: int) -> bool:
        """Takes n_bytes. Returns False, with nothing taken, if they are not left."""
        if self.used_bytes + n_bytes > self.size_bytes:
            return False
        self.used_bytes += n_bytes
        return True

    def give(self, n_bytes: int) -> None:
        """Gives back what was taken."""
        self.used_bytes -= n_bytes
