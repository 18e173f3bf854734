"""How urgent a request is: its field `priority`, or the header X-Priority for callers who cannot change a body."""

from __future__ import annotations

from starlette.datastructures import Headers

from llmcore.log import cut
from llmcore.messages import PRIORITIES, Priority

from .errors import invalid

HEADER = "X-Priority"

# OpenAI's tiers as priorities; `priority` and the header say the same in our own words.
_TIERS: dict[str, Priority | None] = {"auto": None, "default": None, "flex": "low", "priority": "high"}


def asked_priority(service_tier: str | None, priority: Priority | None) -> Priority | None:
    """What the fields of a checked request say."""
    return priority or _TIERS[service_tier or "auto"]


def check_tier(service_tier: str | None, priority: Priority | None) -> None:
    """Raises ApiError (400) where two fields differ."""
    tier = _TIERS[service_tier or "auto"]
    if None not in (tier, priority) and tier != priority:
        raise invalid("invalid_value", "service_tier and priority differ: send one of them", "service_tier")


def priority_of(headers: Headers, field: Priority | None) -> Priority:
    """What field and header agree on. Raises ApiError (400)."""
    given = headers.getlist(HEADER)
    for value in given:
        if value not in PRIORITIES:
            raise invalid("invalid_value", f"Invalid header {HEADER}: {cut(value)!r}; use {_ALL}", HEADER)
    if field is not None and any(value != field for value in given):
        raise invalid("invalid_value", f"priority and the header {HEADER} differ: send one of them", "priority")
    found = {each for each in PRIORITIES if each == field or each in given}
    if len(found) > 1:
        raise invalid("invalid_value", f"The header {HEADER} is sent twice, with different values", HEADER)
    return found.pop() if found else "normal"


_ALL = ", ".join(PRIORITIES)
