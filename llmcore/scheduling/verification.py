"""Verification of one sequence's draft in a step: how far the tokens that are drawn agree with it. Pure."""

from __future__ import annotations

from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft


class Verification:
    """A draft that a step computes behind its sequence's own tokens.

    The logits at batch index `index` are those of the draft's first place, the following ones those of the next places, and the
    last ones those of the token behind the draft. The tokens of the answer are drawn place by place; each place counts as long
    as all tokens before it agree with the draft.
    """

    def __init__(self, sequence: Sequence, draft: Draft, index: int) -> None:
        self.sequence = sequence
        self.draft = draft
        self.index = index
        self._n_before = len(sequence.tokens)
        self._n_dropped = sequence.n_dropped
        self.n_accepted = 0  # tokens of the draft whose cells the sequence has taken over

    @property
    def _new(self) -> list[int] | None:
        """Tokens that were appended since; None after a context shift, which moves all places."""
        sequence = self.sequence
        return sequence.tokens[self._n_before :] if sequence.n_dropped == self._n_dropped else None

    @property
    def next_index(self) -> int | None:
        """Batch index of the logits that the next token is drawn from; None if this step has no such logits."""
        sequence, draft = self.sequence, self.draft.tokens
        if sequence.finish_reason is not None:
            return None
        new = self._new
        if not new or len(new) > len(draft) or tuple(new) != draft[: len(new)]:
            return None
        return self.index + len(new)

    @property
    def n_agreed(self) -> int:
        """Number of the draft's tokens that agree with the answer. At a context shift the last token drawn is left out."""
        new, n = self._new, 0
        if new is None:
            return self.n_accepted
        for drafted, token in zip(self.draft.tokens, new, strict=False):
            if drafted != token:
                break
            n += 1
        return n

    @property
    def n_decided(self) -> int:
        """Number of places that are known to agree, and the first one that does not, if one is known."""
        n, new = self.n_agreed, self._new
        return min(len(self.draft.tokens), n + (new is not None and len(new) > n))
