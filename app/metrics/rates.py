"""Decoding rate of answers."""

from __future__ import annotations

from collections.abc import Sequence

from llmcore.messages import Usage


def tokens_per_s(usages: Sequence[Usage]) -> float | None:
    """Returns the decoding rate of answers that were generated side by side. An answer's first token belongs to prefill; None if
    no answer has a second one."""
    n_decoded = sum(max(0, usage.n_generated - 1) for usage in usages)
    decode_s = max(usage.decode_s for usage in usages)
    return n_decoded / decode_s if n_decoded and decode_s > 0 else None
