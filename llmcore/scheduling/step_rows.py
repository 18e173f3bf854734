"""The rows of one step, with the sequence that each row belongs to."""

from __future__ import annotations

from collections.abc import Iterable

from llmcore.batch import Batch, Row
from llmcore.sequence import Sequence


class StepRows:
    """One row for each of some sequences, in a batch of at most n_batch tokens. Reused from step to step.

    `sequences`, `rows` and `wanting_logits` (each with the batch index of its logits) are in the order of the batch, to be read
    only.
    """

    def __init__(self, n_batch: int) -> None:
        self.batch = Batch(n_batch)
        self.sequences: list[Sequence] = []
        self.rows: list[tuple[Sequence, Row]] = []
        self.wanting_logits: list[tuple[Sequence, int]] = []

    @property
    def cells(self) -> Iterable[tuple[int, int]]:
        """(number of tokens, cells that each of them may see) of each row."""
        return [(row.n_tokens, row.start + row.n_tokens) for row in self.batch.rows]

    def clear(self) -> None:
        self.batch.clear()
        self.sequences.clear()
        self.rows.clear()
        self.wanting_logits.clear()

    def add(self, sequence: Sequence, n: int) -> None:
        """Adds the next n tokens of a running sequence. Its last token wants logits, unless only its cells are wanted."""
        start = sequence.n_computed
        is_last = start + n == len(sequence.tokens) and not sequence.is_prefix
        row = self.batch.add(sequence.slot, start, sequence.tokens[start : start + n], wants_logits=is_last)
        self.sequences.append(sequence)
        self.rows.append((sequence, row))
        if is_last:
            self.wanting_logits.append((sequence, row.logits_at))
