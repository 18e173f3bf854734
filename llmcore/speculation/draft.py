"""Drafts, and the protocol of what makes them.

A draft is a guess at the tokens that follow a sequence. The step that computes the sequence's next token verifies it: the target
model's own choice at each place decides how much of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from llmcore.sequence import Sequence

# A step may take longer than its target as far as it gives answers more tokens, but not more than so many times as long.
LONGEST = 2.0


class Draft(NamedTuple):
    """Tokens that may follow a sequence. `chances[i]` is the chance that token i is accepted, given that those before it were.

    source: name of the drafter.
    match: length of the match that it continues, in tokens, or another class that its drafter learns by.
    """

    tokens: tuple[int, ...]
    chances: tuple[float, ...]
    source: str = "text"
    match: int = 0

    def cut(self, n: int) -> Draft:
        """Returns its first n tokens."""
        return self if n >= len(self.tokens) else Draft(self.tokens[:n], self.chances[:n], self.source, self.match)

    @property
    def n_expected(self) -> float:
        """Expected number of its tokens that are accepted."""
        return n_expected(self.chances)


def n_expected(chances: Iterable[float]) -> float:
    """Returns the expected number of accepted tokens: the sum of the chances that all up to each place are accepted."""
    expected, survival = 0.0, 1.0
    for chance in chances:
        survival *= chance
        expected += survival
    return expected


class Drafter(Protocol):
    """Proposes tokens for sequences. Its methods are called in the engine's thread.

    A sequence is known from its first propose() to forget(). Between two calls its tokens only grow at the end, except that a
    context shift may cut them (`Sequence.n_dropped` changes then).
    """

    @property
    def name(self) -> str:
        """The `source` of its drafts, and its name in metrics."""
        ...

    def propose(self, sequence: Sequence, n_max: int) -> Draft | None:
        """Returns a draft of 1 to n_max tokens that follow `sequence.tokens`, or None."""
        ...

    def observe(self, sequence: Sequence, draft: Draft, n_accepted: int) -> None:
        """Learns from a verification. `draft` is what was verified: a draft of its own, cut to what the step bought."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """Drops what it holds of a sequence that ended or was cancelled. Unknown ones are passed over."""
        ...


class StepTimes(Protocol):
    """Predicted times of the step that verifies drafts.

    n_answers: number of tokens that it gives without drafts.
    target_s: seconds that drafting and the step may take together for each token that they give an answer; 0: no limit.
    """

    @property
    def n_answers(self) -> int: ...

    @property
    def target_s(self) -> float: ...

    def seconds(self, n_drafted: int) -> float:
        """Seconds of the step with so many draft tokens of all sequences."""
        ...


class BatchDrafter(Drafter, Protocol):
    """A drafter that is faster for several sequences at once."""

    def propose_all(self, wanted: Mapping[Sequence, int], times: StepTimes | None = None) -> dict[Sequence, Draft]:
        """Returns drafts for some of the sequences; `wanted` has the most tokens of each. With `times`, only drafts whose own time
        is expected to pay."""
        ...

    def drop_ended(self) -> None:
        """Drops what it still holds of sequences that have ended."""
        ...
