"""A sequence: the tokens of one request, or of a pinned prefix, on their way through the engine."""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from dataclasses import dataclass
from typing import Literal

from llmcore.messages import PRIORITIES

Phase = Literal["waiting", "prefill", "decode", "finished"]

# Numbers of the priorities: their places in PRIORITIES.
HIGH, NORMAL, LOW = range(len(PRIORITIES))


# Sequences of different tenants share nothing but pinned prefixes. This one is that of all callers without a tenant.
SHARED_TENANT = 0


@dataclass(slots=True, eq=False)
class Sequence:
    """Tokens of prompt and answer, and how far they are computed.

    Invariant: 0 <= n_restored <= n_cached <= n_computed <= len(tokens). Cells exist for tokens[:n_computed]; of these,
    n_cached were found in the cache, the last n_restored of them in the host cache. Between a step's commit and its end, cells
    of n_drafted tokens of a draft may follow. `slot` is llama's seq_id, or -1. Waiting sequences are ordered by `arrived_s` and
    `priority` (HIGH, NORMAL, LOW).
    """

    request_id: str
    tokens: list[int]
    n_prompt: int
    n_tokens_max: int  # prompt and answer together
    arrived_s: float = 0.0
    started_s: float | None = None  # time of its first step
    priority: int = NORMAL
    slot: int = -1
    n_cached: int = 0
    n_restored: int = 0
    n_computed: int = 0
    n_drafted: int = 0  # cells of draft tokens behind the computed ones, not yet accepted or cut
    n_dropped: int = 0  # tokens forgotten by context shifts
    n_expected: int = 0  # tokens of its prompt that had to be computed, as estimated when it was submitted
    ahead: tuple[int, int] | None = None  # tokens, and slots, to wait for then; None if they were not counted
    overtaken_s: float = 0.0  # time of steps that went to prompts that were due later, while its own waited
    checkpoints: tuple[int, ...] = ()  # lengths at which a chunk ends and the state is saved, if it cannot be cut later
    n_forced: int = 0  # tokens behind the last sampled one that a constraint left no choice about
    is_kept: bool = True  # its cells stay as a cached prefix when it is finished
    logits_from: int | None = None  # first place of the prompt whose logits are wanted; None: only the last one's are
    is_prefix: bool = False  # computed for its cells alone: nothing is sampled
    is_speculative: bool = True  # its answer may be drafted
    tenant: int = SHARED_TENANT
    holders: tuple[str, ...] = ()  # caller, and request within that: it takes of their shares of the slots (shares.py)
    group: str = ""  # the holder that is one request with several answers
    finish_reason: str | None = None

    @property
    def n_generated(self) -> int:
        return len(self.tokens) + self.n_dropped - self.n_prompt

    @property
    def n_cacheable(self) -> int:
        """Number of tokens, from the first on, whose cells may come from a cache. Logits of the others have to be computed."""
        n = len(self.tokens) - 1
        return n if self.logits_from is None else min(n, self.logits_from)

    @property
    def n_remaining(self) -> int:
        """Number of tokens that are known and not computed: in decode the last sampled one and forced ones, in prefill more."""
        return len(self.tokens) - self.n_computed

    @property
    def phase(self) -> Phase:
        """Phase, derived from the other fields."""
        if self.finish_reason is not None:
            return "finished"
        if self.slot < 0:
            return "waiting"
        is_answered = self.n_generated > 0 and self.n_remaining <= 1 + self.n_forced
        return "decode" if is_answered else "prefill"


def common_prefix(a: Tokens[int], b: Tokens[int]) -> int:
    """Length of the longest common prefix, found by bisection over slices, which are fast to compare in lists."""
    high = min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    low = 0  # a[:low] == b[:low], and a[:high] != b[:high]
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low
