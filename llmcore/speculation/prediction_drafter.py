"""Drafts from a request's prediction: a text that the answer is expected to be, such as a file before an edit.

The answer is followed through the prediction from its beginning. Where they differ, the place to go on is searched near the last
one first: an edit changes or leaves out a part and goes on behind it. Elsewhere only long matches count.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from enum import IntEnum

from llmcore.sequence import Sequence
from llmcore.speculation.acceptance import Acceptance
from llmcore.speculation.cursor import SURE
from llmcore.speculation.draft import Draft
from llmcore.speculation.follower import Follower
from llmcore.speculation.memory_budget import MemoryBudget
from llmcore.speculation.ngrams import n_alike
from llmcore.speculation.suffix_index import MATCH_MAX, Match, SuffixIndex


class Kind(IntEnum):
    """Ways in which the place in the prediction was found: followed from the beginning, behind a miss, near the last place,
    anywhere."""

    FOLLOWED = 0
    RESUMED = 1
    NEAR = 2
    ANYWHERE = 3


# Chances by the number of tokens that agree: 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32 (see acceptance.py).
_PRIORS = (
    (0.70, 0.80, 0.80, 0.85, 0.85, 0.90, 0.90, 0.90, 0.95, 0.95, 0.97),
    (0.40, 0.50, 0.60, 0.70, 0.75, 0.80, 0.85, 0.90, 0.90, 0.95, 0.95),
    (0.10, 0.35, 0.50, 0.60, 0.70, 0.80, 0.85, 0.90, 0.90, 0.95, 0.95),
    (0.02, 0.10, 0.25, 0.40, 0.50, 0.65, 0.75, 0.80, 0.85, 0.90, 0.95),
)

# Places before and behind the last one that count as near.
_NEAR_BEFORE, _NEAR_BEHIND = 16, 128

# Bytes of what is held of one prediction, beside its index and 4 for each of its tokens.
_SEQUENCE_BYTES = 4096


class _PredictionFollower(Follower):
    """A sequence and its prediction. `last` is the place in it where the answer followed it last."""

    __slots__ = ("index", "last", "size_bytes", "text")

    def __init__(self, sequence: Sequence, text: array[int], size_bytes: int, shared: Acceptance) -> None:
        super().__init__(sequence.tokens, sequence.n_prompt, shared, Kind.RESUMED)
        self.text = text
        self.index = SuffixIndex(text, len(text))
        self.index.extend()
        self.size_bytes = size_bytes
        self.last = 0
        self.begin(text, Kind.FOLLOWED)

    def read(self) -> None:
        super().read()
        if self.cursor is not None:
            self.last = self.cursor.at


class PredictionDrafter:
    """Follows predictions; sequences without one get no draft. `budget` bounds the memory."""

    name = "prediction"

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._acceptance = Acceptance(_PRIORS)
        self._followers: dict[Sequence, _PredictionFollower] = {}

    def predict(self, sequence: Sequence, tokens: Iterable[int]) -> bool:
        """Gives a sequence a prediction, before its first token is drawn. Returns False, with nothing kept, if it is empty or too
        little memory is left for it."""
        self.forget(sequence)
        text = array("i", tokens)
        size_bytes = SuffixIndex.size_for(len(text)) + text.itemsize * len(text) + _SEQUENCE_BYTES
        if not text or not self._budget.take(size_bytes):
            return False
        self._followers[sequence] = _PredictionFollower(sequence, text, size_bytes, self._acceptance)
        return True

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        """Returns the continuation of the sequence's prediction, or None if it has none or the answer has left it."""
        follower = self._followers.get(sequence)
        if follower is None:
            return None
        if follower.n_read > len(sequence.tokens):  # a context shift has dropped some
            follower.n_read = len(sequence.tokens)
        was_read = follower.n_read
        follower.read()
        cursor = follower.cursor
        has_new = len(sequence.tokens) > max(was_read, sequence.n_prompt)
        if has_new and (cursor is None or (cursor.is_resumed and cursor.length < SURE)):
            follower.consider(_find_near(follower), Kind.NEAR)
            follower.consider(follower.index.find(sequence.tokens[-MATCH_MAX:]), Kind.ANYWHERE)
        return follower.draft(n_max, self.name)

    def observe(self, sequence: Sequence, draft: Draft, n_accepted: int) -> None:
        """Does nothing: propose() learns from all tokens that came, drafted or not."""

    def forget(self, sequence: Sequence) -> None:
        """Drops a sequence and its prediction."""
        follower = self._followers.pop(sequence, None)
        if follower is not None:
            self._budget.give(follower.size_bytes)


def _find_near(follower: _PredictionFollower) -> Match | None:
    """Returns the longest match of the answer's last tokens around the last place, of equal ones the first behind that place."""
    text, tokens, last = follower.text, follower.tokens, follower.last
    first, end = max(last - _NEAR_BEFORE, 1), min(last + _NEAR_BEHIND, len(text))
    token, found = tokens[-1], None
    for at in (*range(last, end), *range(first, last)):
        if at > 0 and text[at - 1] == token:
            n = n_alike(text, at, tokens, len(tokens), MATCH_MAX)
            if found is None or n > found.n:
                found = Match(text, at, n)
    return found
