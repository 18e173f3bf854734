"""One conversation's tokens on their way through the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmcore.messages import PRIORITIES

Phase = Literal["waiting", "prefill", "decode", "finished"]

# Numbers of the priorities: their places in PRIORITIES.
HIGH, NORMAL, LOW = range(len(PRIORITIES))


# Above all token ids of all vocabularies.
_TENANT_BIT = 32


def shared(tokens: list[int]) -> list[int]:
    """Of a sequence's `identity`: the tokens as everybody has them."""
    return [tokens[0] & ((1 << _TENANT_BIT) - 1), *tokens[1:]] if tokens else tokens


@dataclass(slots=True, eq=False)
class Sequence:
    """Tokens of prompt and answer, and how far they are computed.

    Invariant: 0 <= n_restored <= n_cached <= n_computed <= len(tokens). Cells exist for tokens[:n_computed]; of these,
    n_cached were found in the cache, the last n_restored of them in the host tier. `slot` is llama's seq_id, -1 while there
    is none. `arrived_s` orders the waiting, beside `priority` (HIGH, NORMAL, LOW).
    """

    request_id: str
    tokens: list[int]
    n_prompt: int
    n_tokens_max: int  # prompt and answer together
    arrived_s: float = 0.0
    started_s: float | None = None  # when the first step took part of it
    priority: int = NORMAL
    slot: int = -1
    n_cached: int = 0
    n_restored: int = 0
    n_computed: int = 0
    n_dropped: int = 0  # tokens that a context shift has forgotten
    n_expected: int = 0  # tokens that its prompt was expected to cost when it was submitted
    ahead: tuple[int, int] | None = None  # tokens, and slots, that it had to wait for then; None: they were not counted
    overtaken_s: float = 0.0  # of steps that went to prompts that were due later, while its own waited
    checkpoints: tuple[int, ...] = ()  # where a chunk ends and the state is saved, if it cannot be cut later
    n_forced: int = 0  # tokens behind the last drawn one that a constraint left no choice about
    is_kept: bool = True  # as a cached prefix, once it is finished
    is_prefix: bool = False  # computed for its cells alone: nothing is sampled
    tenant: int = 0  # sequences of different tenants share nothing; 0 is everybody
    holders: tuple[str, ...] = ()  # whose share of the slots it takes (scheduling/shares.py), the widest first
    group: str = ""  # that of the holders which is one request with several answers
    finish_reason: str | None = None

    @property
    def identity(self) -> list[int]:
        """What the books of the cache know it by: its tokens, but that the first one is the tenant's own. So whatever compares
        tokens from the first one on keeps tenants apart. Not to be changed: it may be `tokens` itself."""
        if not self.tenant or not self.tokens:
            return self.tokens
        return [self.tokens[0] | self.tenant << _TENANT_BIT, *self.tokens[1:]]

    @property
    def n_generated(self) -> int:
        return len(self.tokens) + self.n_dropped - self.n_prompt

    @property
    def n_remaining(self) -> int:
        """Tokens that are known and not computed: 1 while decoding, and those that were forced; more in prefill."""
        return len(self.tokens) - self.n_computed

    @property
    def phase(self) -> Phase:
        """Derived, never stored."""
        if self.finish_reason is not None:
            return "finished"
        if self.slot < 0:
            return "waiting"
        is_answered = self.n_generated > 0 and self.n_remaining <= 1 + self.n_forced
        return "decode" if is_answered else "prefill"
