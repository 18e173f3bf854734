"""Drafts from text seen before: the sequence's own prompt and answer, pinned prefixes, earlier answers to the same tenant."""

from __future__ import annotations

from enum import IntEnum

from llmcore.sequence import Sequence
from llmcore.speculation.acceptance import Acceptance
from llmcore.speculation.draft import Draft
from llmcore.speculation.follower import Follower
from llmcore.speculation.memory_budget import MemoryBudget
from llmcore.speculation.seen_answers import SeenAnswers
from llmcore.speculation.suffix_index import MATCH_MAX, SuffixIndex


class Kind(IntEnum):
    """Ways in which the place in a text was found: by tokens of the sequence itself, of a text seen before, behind a miss, by the
    prompt of an earlier answer, which is much like this one's or only begins like it."""

    OWN = 0
    SEEN = 1
    RESUMED = 2
    ALIKE = 3
    BEGUN_ALIKE = 4


# Chances by the number of tokens that agree: 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32 (see acceptance.py).
_PRIORS = (
    (0.02, 0.12, 0.25, 0.40, 0.50, 0.60, 0.70, 0.80, 0.85, 0.90, 0.95),
    (0.02, 0.10, 0.20, 0.35, 0.50, 0.60, 0.70, 0.80, 0.85, 0.90, 0.95),
    (0.30, 0.40, 0.50, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95),
    (0.50, 0.60, 0.65, 0.70, 0.75, 0.80, 0.80, 0.85, 0.90, 0.90, 0.95),
    (0.20, 0.30, 0.40, 0.50, 0.60, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95),
)

# Prompts are much alike if they differ in no more tokens than this, at their ends.
_APART_MAX = 64

# With so long a match, no other place is searched.
_SURE_MATCH = 12

# Answers of fewer tokens are not remembered.
_ANSWER_MIN = 4

# Bytes of what is held of one sequence, beside its index.
_SEQUENCE_BYTES = 4096


class _TextFollower(Follower):
    """State of a sequence in the drafter."""

    __slots__ = ("index", "n_dropped", "n_longest", "size_bytes")

    def __init__(self, sequence: Sequence, n_read: int, shared: Acceptance, index: SuffixIndex) -> None:
        super().__init__(sequence.tokens, n_read, shared, Kind.RESUMED)
        self.index = index
        self.n_dropped = sequence.n_dropped
        self.n_longest = MATCH_MAX  # no match is longer: with each token that comes, a match grows by one at most

    def read(self) -> None:
        n_new = len(self.tokens) - self.n_read
        self.n_longest = min(self.n_longest + n_new, MATCH_MAX)
        super().read()


class TextDrafter:
    """Follows the text that the answer most likely goes on with. `budget` bounds the memory of running sequences: one for which
    too little is left is searched less well. What has ended goes to `seen`."""

    name = "text"

    def __init__(self, seen: SeenAnswers, budget: MemoryBudget) -> None:
        self._seen = seen
        self._budget = budget
        self._acceptance = Acceptance(_PRIORS)
        self._followers: dict[Sequence, _TextFollower] = {}

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        """Returns the continuation of the text that the sequence follows, or None if it follows none."""
        follower = self._followers.get(sequence)
        if follower is None or follower.n_dropped != sequence.n_dropped:
            follower = self._follow(sequence)
        if follower is None:
            return None
        follower.read()
        if follower.cursor is None or follower.cursor.length < _SURE_MATCH:
            self._search(follower, sequence.tenant)
        return follower.draft(n_max, self.name)

    def observe(self, sequence: Sequence, draft: Draft, n_accepted: int) -> None:
        """Does nothing: propose() learns from all tokens that came, drafted or not."""

    def forget(self, sequence: Sequence) -> None:
        """Drops a sequence that has ended, and remembers its answer."""
        self._release(sequence)
        n_answer = min(sequence.n_generated, len(sequence.tokens))
        if n_answer < _ANSWER_MIN or sequence.is_prefix or not sequence.is_kept:
            return
        tokens, n_prompt = sequence.tokens, len(sequence.tokens) - n_answer
        self._seen.add(sequence.tenant, tokens[:n_prompt], tokens[n_prompt:])

    # --- One sequence -------------------------------------------------------------------------------------------------

    def _follow(self, sequence: Sequence) -> _TextFollower | None:
        """Begins to follow a sequence, or begins again after a context shift. Returns None if no memory is left."""
        self._release(sequence)
        index = self._make_index(sequence.tokens, min(sequence.n_tokens_max, 2 * len(sequence.tokens)))
        if index is None:
            return None
        is_shifted = sequence.n_dropped > 0
        n_read = len(sequence.tokens) if is_shifted else sequence.n_prompt
        follower = self._followers[sequence] = _TextFollower(sequence, n_read, self._acceptance, index)
        if not is_shifted:
            beginning = self._seen.beginning(sequence.tenant, sequence.tokens[:n_read])
            if beginning is not None:
                kind = Kind.ALIKE if beginning.n_apart <= _APART_MAX else Kind.BEGUN_ALIKE
                follower.begin(beginning.answer, kind)
        return follower

    def _release(self, sequence: Sequence) -> None:
        follower = self._followers.pop(sequence, None)
        if follower is not None:
            self._budget.give(follower.index.size_bytes + _SEQUENCE_BYTES)

    def _search(self, follower: _TextFollower, tenant: int) -> None:
        """Follows another text if that is more likely to go on."""
        self._grow(follower)
        follower.index.extend()
        own = follower.index.find(follower.tokens, follower.n_longest)
        seen = self._seen.find(tenant, follower.tokens, follower.n_longest)
        follower.n_longest = max(own.n if own else 0, seen.n if seen else 0)
        follower.consider(own, Kind.OWN)
        follower.consider(seen, Kind.SEEN)

    def _grow(self, follower: _TextFollower) -> None:
        """Makes a larger index for a text that outgrew its own, if there is memory for both."""
        n = len(follower.tokens)
        if n > follower.index.n_tokens and self._budget.take(SuffixIndex.size_for(2 * n)):
            self._budget.give(follower.index.size_bytes)
            follower.index = SuffixIndex(follower.tokens, 2 * n)

    def _make_index(self, tokens: list[int], n_tokens: int) -> SuffixIndex | None:
        """Returns an index of the size for n_tokens, or of a smaller one if too little memory is left."""
        while n_tokens and not self._budget.take(SuffixIndex.size_for(n_tokens) + _SEQUENCE_BYTES):
            n_tokens //= 2
        return SuffixIndex(tokens, n_tokens) if n_tokens else None
