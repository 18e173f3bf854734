"""Chances that draft tokens are accepted, learned from what came.

A draft follows a text. The chance that the text's next token comes depends on the number of tokens for which the answer has agreed
with it (its length), and on how the place in the text was found (its kind). Each new token of an answer that follows a text is one
observation, whether a step verified a draft or not: so nothing has to be bought to learn that nothing should be.

Chances are learned over all sequences (slowly) and in each sequence (quickly); the first are the prior of the second.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

# First lengths of the classes that are learned together, but for the longest.
_FIRST = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
N_CLASSES = len(_FIRST)
_LENGTH_MAX = _FIRST[-1]
_CLASSES = tuple(sum(first <= n for first in _FIRST) - 1 for n in range(_LENGTH_MAX + 1))

# Weights in observations: of a prior given beforehand, and of what all sequences have learned, in one sequence.
_WEIGHT_GIVEN = 6.0
_WEIGHT_SHARED = 3.0
# Old observations fade: about so many of the last ones count.
_KEEP_SHARED = 1 - 1 / 300
_KEEP_SEQUENCE = 1 - 1 / 20

_MIN, _MAX = 0.005, 0.99


def class_of(n: int) -> int:
    """Returns the class of a length."""
    return _CLASSES[min(n, _LENGTH_MAX)]


class Acceptance:
    """Chances of one drafter, by kind and length, over all sequences. `priors` has a row of N_CLASSES chances for each kind."""

    def __init__(self, priors: Sequence[Sequence[float]]) -> None:
        self.n_cells = len(priors) * N_CLASSES
        self._hits = [_WEIGHT_GIVEN * chance for row in priors for chance in row]
        self._trials = [_WEIGHT_GIVEN] * self.n_cells

    def chance(self, cell: int) -> float:
        """Chance of the next token, for a cell: a kind and a class of lengths."""
        return self._hits[cell] / self._trials[cell]

    def observe(self, cell: int, is_hit: bool) -> None:
        """Learns that the next token was the text's, or was not."""
        self._hits[cell] = self._hits[cell] * _KEEP_SHARED + is_hit
        self._trials[cell] = self._trials[cell] * _KEEP_SHARED + 1.0


class SequenceAcceptance:
    """Chances in one sequence. What it learns, all sequences learn."""

    def __init__(self, shared: Acceptance) -> None:
        self._shared = shared
        self._hits = array("d", bytes(8 * shared.n_cells))
        self._trials = array("d", bytes(8 * shared.n_cells))

    def observe(self, kind: int, length: int, is_hit: bool) -> None:
        """Learns that the next token was the text's, or was not."""
        cell = kind * N_CLASSES + class_of(length)
        self._hits[cell] = self._hits[cell] * _KEEP_SEQUENCE + is_hit
        self._trials[cell] = self._trials[cell] * _KEEP_SEQUENCE + 1.0
        self._shared.observe(cell, is_hit)

    def chance(self, kind: int, length: int) -> float:
        """Chance of the next token."""
        return self._chance(kind * N_CLASSES + class_of(length))

    def chances(self, kind: int, length: int, n: int) -> tuple[float, ...]:
        """Returns the chances of the next n tokens, each given that those before it came."""
        found: list[float] = []
        while n > 0:
            of_class = class_of(length)
            n_alike = n if of_class == N_CLASSES - 1 else min(_FIRST[of_class + 1] - length, n)
            found += [self._chance(kind * N_CLASSES + of_class)] * n_alike
            length, n = length + n_alike, n - n_alike
        return tuple(found)

    def _chance(self, cell: int) -> float:
        hits = self._hits[cell] + _WEIGHT_SHARED * self._shared.chance(cell)
        return min(max(hits / (self._trials[cell] + _WEIGHT_SHARED), _MIN), _MAX)
