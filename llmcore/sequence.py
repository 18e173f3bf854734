"""One conversation's tokens on their way through the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Phase = Literal["waiting", "prefill", "decode", "finished"]


@dataclass(slots=True, eq=False)
class Sequence:
    """Tokens of prompt and answer, and how far they are computed.

    Invariant: 0 <= n_cached <= n_computed <= len(tokens). Cells exist for tokens[:n_computed]; of these, n_cached were found
    in the cache. `slot` is llama's seq_id, -1 while there is none. `arrived_s` orders the waiting.
    """

    request_id: str
    tokens: list[int]
    n_prompt: int
    n_tokens_max: int  # prompt and answer together
    arrived_s: float = 0.0
    priority: int = 0
    slot: int = -1
    n_cached: int = 0
    n_computed: int = 0
    finish_reason: str | None = None

    @property
    def n_generated(self) -> int:
        return len(self.tokens) - self.n_prompt

    @property
    def n_remaining(self) -> int:
        """Tokens that are known and not computed: 1 while decoding, more in prefill."""
        return len(self.tokens) - self.n_computed

    @property
    def phase(self) -> Phase:
        """Derived, never stored."""
        if self.finish_reason is not None:
            return "finished"
        if self.slot < 0:
            return "waiting"
        return "decode" if self.n_remaining == 1 and self.n_generated > 0 else "prefill"
