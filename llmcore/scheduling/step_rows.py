"""The rows of one step, with the sequence that each row belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from llmcore.batch import Batch, Row
from llmcore.scheduling.verification import Verification
from llmcore.sequence import Sequence
from llmcore.speculation.draft import Draft


@dataclass(frozen=True)
class PromptLogits:
    """Places start to start + n - 1 of a sequence's prompt whose logits a step computes, at batch indices `index` and following.
    The logits of a place are those of the token behind it."""

    sequence: Sequence
    start: int
    n: int
    index: int


class StepRows:
    """One row for each of some sequences, in a batch of at most n_batch tokens. Reused from step to step.

    `sequences`, `rows`, `wanting_logits` (each with the batch index of its last token's logits), `prompt_logits` and `drafted`
    are in the order of the batch, to be read only.
    """

    def __init__(self, n_batch: int) -> None:
        self.batch = Batch(n_batch)
        self.sequences: list[Sequence] = []
        self.rows: list[tuple[Sequence, Row]] = []
        self.wanting_logits: list[tuple[Sequence, int]] = []
        self.prompt_logits: list[PromptLogits] = []
        self.drafted: list[Verification] = []

    @property
    def n_outputs(self) -> int:
        """Number of batch indices whose logits this step computes."""
        n_drafted = sum(len(each.draft.tokens) for each in self.drafted)
        return len(self.wanting_logits) + n_drafted + self.n_prompt_logits

    @property
    def cells(self) -> Iterable[tuple[int, int]]:
        """(number of tokens, cells that each of them may see) of each row."""
        return [(row.n_tokens, row.start + row.n_tokens) for row in self.batch.rows]

    @property
    def n_prompt_logits(self) -> int:
        """Number of places of prompts whose logits this step computes."""
        return sum(each.n for each in self.prompt_logits)

    def clear(self) -> None:
        self.batch.clear()
        self.sequences.clear()
        self.rows.clear()
        self.wanting_logits.clear()
        self.prompt_logits.clear()
        self.drafted.clear()

    def add(self, sequence: Sequence, n: int, draft: Draft | None = None) -> None:
        """Adds the next n tokens of a running sequence. Its last token wants logits, unless only its cells are wanted. A draft,
        which may follow the last token, wants the logits of all its places."""
        start, tokens, n_draft = sequence.n_computed, sequence.tokens, 0
        is_last = start + n == len(tokens) and not sequence.is_prefix
        if draft is None:
            row = self.batch.add(sequence.slot, start, tokens[start : start + n], wants_logits=is_last)
        else:
            assert is_last
            n_draft = len(draft.tokens)
            row = self.batch.add(
                sequence.slot, start, [*tokens[start:], *draft.tokens], wants_logits=True, n_draft=n_draft
            )
            self.drafted.append(Verification(sequence, draft, row.logits_at))
        self.sequences.append(sequence)
        self.rows.append((sequence, row))
        if is_last:
            self.wanting_logits.append((sequence, row.logits_at))
        if sequence.logits_from is not None:
            self._want_prompt_logits(sequence, start, n)

    def _want_prompt_logits(self, sequence: Sequence, start: int, n: int) -> None:
        """Marks the places of the row that was just added whose logits belong to a token of the prompt."""
        assert sequence.logits_from is not None
        first, end = max(start, sequence.logits_from), min(start + n, sequence.n_prompt - 1)
        if first < end:
            index = self.batch.n_tokens - n + first - start
            self.batch.wants_logits[index : index + end - first] = 1
            self.prompt_logits.append(PromptLogits(sequence, first, end - first, index))
