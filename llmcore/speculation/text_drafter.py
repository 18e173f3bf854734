"""Drafts from text seen before."""

from __future__ import annotations

from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft

_CHANCES = (0.3, 0.5, 0.7, 0.8, 0.85, 0.9)
_MATCH_MAX = 16


class TextDrafter:
    """Continues the longest suffix of a sequence that occurs in it before, at its last occurrence."""

    name = "text"

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        """Returns what followed the longest match, or None if there is no match."""
        tokens = sequence.tokens
        best, best_at = 0, 0
        for at in range(len(tokens) - 1, 0, -1):
            n = 0
            while n < min(at, _MATCH_MAX) and tokens[at - 1 - n] == tokens[-1 - n]:
                n += 1
            if n > best:
                best, best_at = n, at
        if not best or n_max < 1:
            return None
        found = tuple(tokens[best_at : best_at + n_max])
        chances = tuple(_CHANCES[min(best - 1 + i, len(_CHANCES) - 1)] for i in range(len(found)))
        return Draft(found, chances, self.name, best)

    def observe(self, sequence: Sequence, draft: Draft, n_accepted: int) -> None:
        pass

    def forget(self, sequence: Sequence) -> None:
        pass
