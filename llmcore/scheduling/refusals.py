"""What an engine refuses at this moment, told ahead: of many that come at once, most need not be asked about."""

from __future__ import annotations

from llmcore.errors import OverloadedError
from llmcore.messages import PRIORITIES, AdmissionRefusal, Priority

# By priority, in the order of PRIORITIES: what even the cheapest request would be told. Empty: nobody is refused.
Refusals = tuple[AdmissionRefusal | None, ...]


def check(refusals: Refusals, priority: Priority) -> None:
    """Raises OverloadedError for a request that would be refused whatever it asks."""
    refusal = refusals[PRIORITIES.index(priority)] if refusals else None
    if refusal is not None:
        raise OverloadedError(refusal.message, retry_after_s=refusal.retry_after_s)
