"""What the next step computes. Pure policy: no ctypes, no clock, no thread, no log.

Sequences that are being decoded come first, one row each; what is left of the step goes to prompts, in order of arrival.
While somebody is being decoded, prompts get small chunks, so that no stream waits for a stranger's prompt.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from llmcore.batch import Batch
from llmcore.errors import OverloadedError
from llmcore.kvcache import KVCache
from llmcore.sequence import Sequence


@dataclass(frozen=True)
class Limits:
    """What was decided from EngineConfig, the machine and the model. Tokens, but n_running and n_waiting (sequences)."""

    n_ctx: int
    n_running: int
    n_waiting: int
    n_batch: int
    n_chunk_alone: int  # of prompts in a step in which nobody is being decoded
    n_chunk_shared: int  # … in which somebody is


class Scheduler:
    """Invariant: a sequence is in exactly one of `waiting` and `running`, until it is finished or cancelled."""

    def __init__(self, cache: KVCache, limits: Limits) -> None:
        self.cache = cache
        self.limits = limits
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self._batch = Batch(limits.n_batch)
        self._rows: dict[int, Sequence] = {}  # of the batch that is out, by slot

    @property
    def has_work(self) -> bool:
        return bool(self.waiting or self.running)

    @property
    def sequences(self) -> Iterable[Sequence]:
        yield from self.running
        yield from self.waiting

    def add(self, sequence: Sequence) -> None:
        """Queues a sequence. Raises OverloadedError if too many wait."""
        if len(self.waiting) >= self.limits.n_waiting and len(self.running) >= self.limits.n_running:
            raise OverloadedError(f"{len(self.waiting)} requests are waiting already")
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence, reason: str) -> None:
        """Ends a sequence, wherever it is. What it computed stays as a cached prefix."""
        sequence.finish_reason = reason
        if sequence in self.running:
            self.running.remove(sequence)
            self.cache.close(sequence)
        else:
            self.waiting.remove(sequence)

    # --- A step: schedule, then commit or rollback ------------------------------------------------------------------------

    def schedule(self) -> Batch | None:
        """The rows of the next step, or None if there is nothing to do. commit() or rollback() must follow."""
        self._batch.clear()
        self._rows.clear()
        for sequence in [each for each in self.running if each.phase == "decode"]:
            if sequence.slot >= 0 and self._make_room(sequence):
                self._add_row(sequence, 1)
        decoding = bool(self._rows)
        budget = min(self.limits.n_chunk_shared if decoding else self.limits.n_chunk_alone, self._batch.n_free)
        for sequence in [each for each in self.running if each.phase == "prefill"]:
            budget -= self._add_chunk(sequence, budget)
        while budget > 0 and self._admit():
            budget -= self._add_chunk(self.running[-1], budget)
        return self._batch if self._batch.n_tokens else None

    @property
    def in_step(self) -> list[Sequence]:
        """The sequences of the step that is out."""
        return list(self._rows.values())

    def scheduled(self) -> list[tuple[Sequence, int]]:
        """(sequence, batch index) of the rows that want logits, in the order of the batch."""
        return [(self._rows[row.slot], row.logits_at) for row in self._batch.rows if row.logits_at >= 0]

    def commit(self, tokens: list[int]) -> list[tuple[Sequence, int]]:
        """The step was computed; `tokens` were drawn for scheduled(), in that order. Returns (sequence, its new token)."""
        drawn = iter(tokens)
        grown = []
        for row in self._batch.rows:
            sequence = self._rows[row.slot]
            self.cache.append(sequence, row.n_tokens)
            if row.logits_at >= 0:
                token = next(drawn)
                sequence.tokens.append(token)
                grown.append((sequence, token))
        return grown

    def rollback(self) -> None:
        """The step failed or was aborted: its sequences stand where they stood before it."""
        for sequence in self.in_step:
            self.cache.rewind(sequence)

    # --- Rows -----------------------------------------------------------------------------------------------------------

    def _add_row(self, sequence: Sequence, n: int) -> None:
        start = sequence.n_computed
        last = start + n == len(sequence.tokens)
        self._batch.add(sequence.slot, start, sequence.tokens[start : start + n], wants_logits=last)
        self._rows[sequence.slot] = sequence

    def _add_chunk(self, sequence: Sequence, budget: int) -> int:
        """Adds a chunk of a prompt; returns its tokens, 0 where the cells do not suffice yet."""
        n = min(budget, sequence.n_remaining)
        if n <= 0 or not self.cache.reserve(self._batch.n_tokens + n):
            return 0
        self._add_row(sequence, n)
        return n

    def _admit(self) -> bool:
        """Moves the next waiting sequence into a slot, if its prompt fits beside what is running."""
        if not self.waiting or len(self.running) >= self.limits.n_running:
            return False
        sequence = self.waiting[0]
        promised = sum(each.n_remaining for each in self.running)
        if self.cache.n_cells_pinned + promised + len(sequence.tokens) > self.cache.n_cells and self.running:
            return False
        if not self.cache.open(sequence):
            return False
        self.running.append(self.waiting.popleft())
        return True

    def _make_room(self, sequence: Sequence) -> bool:
        """A cell for one more token of a sequence that is being decoded. Where running sequences hold all cells, the one that
        came last goes back to the queue, and is computed again later. False if that is this very one."""
        while not self.cache.reserve(self._batch.n_tokens + 1):
            victim = max(
                (each for each in self.running if each.slot not in self._rows), key=lambda each: each.arrived_s
            )
            self._preempt(victim)
            if victim is sequence:
                return False
        return True

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self.cache.close(sequence)
        self.waiting.appendleft(sequence)
