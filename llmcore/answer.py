"""A request in the engine: its sequence, and what turns the sequence's tokens into an answer."""

from __future__ import annotations

from dataclasses import dataclass

from llmcore.detokenize import TextStream
from llmcore.messages import Usage
from llmcore.sampler import Sampler
from llmcore.sequence import Sequence


@dataclass(eq=False)
class Answer:
    """`n_generated_max` bounds the answer, the sequence's n_tokens_max what fits into the context. Times are a clock's."""

    sequence: Sequence
    sampler: Sampler
    text: TextStream
    ignore_eos: bool
    n_generated_max: int | None
    deadline_s: float | None
    is_started: bool = False
    first_token_s: float | None = None
    n_cached: int = 0
    n_restored: int = 0

    def start(self) -> bool:
        """A step takes part of it: what it found in the cache is known now. Whether that was the first time."""
        if self.is_started:
            return False
        self.is_started = True
        self.n_cached, self.n_restored = self.sequence.n_cached, self.sequence.n_restored
        return True

    def usage(self, now_s: float) -> Usage:
        sequence = self.sequence
        started_s = now_s if sequence.started_s is None else sequence.started_s
        first_s = now_s if self.first_token_s is None else self.first_token_s
        return Usage(
            n_prompt=sequence.n_prompt,
            n_cached=self.n_cached,
            n_generated=sequence.n_generated,
            n_restored=self.n_restored,
            queue_s=started_s - sequence.arrived_s,
            prefill_s=first_s - started_s,
            decode_s=now_s - first_s,
        )
