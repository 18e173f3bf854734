"""Refusals known in advance, so that most requests of a crowd can be refused without asking the engine."""

from __future__ import annotations

from llmcore.errors import OverloadedError
from llmcore.messages import PRIORITIES, AdmissionRefusal, Priority

# Refusal of even the cheapest request, by priority in the order of PRIORITIES. Empty: none is refused.
Refusals = tuple[AdmissionRefusal | None, ...]


def check(refusals: Refusals, priority: Priority) -> None:
    """Raises OverloadedError for a request that would be refused even if it were the cheapest one."""
    refusal = refusals[PRIORITIES.index(priority)] if refusals else None
    if refusal is not None:
        raise OverloadedError(refusal.message, retry_after_s=refusal.retry_after_s)
