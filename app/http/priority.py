"""Priority of a request: its fields `priority` and `service_tier`, or the header X-Priority for clients that cannot change a
body."""

from __future__ import annotations

from typing import Literal

from starlette.datastructures import Headers

from llmcore.log import cut
from llmcore.messages import PRIORITIES, Priority

from .errors import invalid

PRIORITY_HEADER = "X-Priority"

# OpenAI's name for priorities, in replies. Requests may have any word; unknown ones are told as ignored.
AppliedTier = Literal["default", "flex", "priority"]

_PRIORITY_OF_TIER: dict[str, Priority | None] = {"auto": None, "default": None, "flex": "low", "priority": "high"}
SERVICE_TIERS = tuple(_PRIORITY_OF_TIER)
_TIER_OF_PRIORITY: dict[Priority, AppliedTier] = {"low": "flex", "normal": "default", "high": "priority"}


def check_service_tier(service_tier: str | None, priority: Priority | None) -> None:
    """Raises ApiError (400) if the two fields of a request differ."""
    tier_priority = _PRIORITY_OF_TIER.get(service_tier or "auto")
    if None not in (tier_priority, priority) and tier_priority != priority:
        raise invalid("invalid_value", "service_tier and priority differ: send one of them", "service_tier")


def priority_of_fields(service_tier: str | None, priority: Priority | None) -> Priority | None:
    """Returns the priority in the fields of a request, which check_service_tier() has accepted. None if they set none."""
    return priority or _PRIORITY_OF_TIER.get(service_tier or "auto")


def priority_of_request(headers: Headers, field: Priority | None) -> Priority:
    """Returns the priority in a request's header or fields. Raises ApiError (400) if they are invalid or differ."""
    values = headers.getlist(PRIORITY_HEADER)
    for value in values:
        if value not in PRIORITIES:
            allowed = ", ".join(PRIORITIES)
            problem = f"Invalid header {PRIORITY_HEADER}: {cut(value)!r}; use {allowed}"
            raise invalid("invalid_value", problem, PRIORITY_HEADER)
    if field is not None and any(value != field for value in values):
        raise invalid(
            "invalid_value", f"priority and the header {PRIORITY_HEADER} differ: send one of them", "priority"
        )
    found = {each for each in PRIORITIES if each == field or each in values}
    if len(found) > 1:
        problem = f"The header {PRIORITY_HEADER} is sent twice, with different values"
        raise invalid("invalid_value", problem, PRIORITY_HEADER)
    return found.pop() if found else "normal"


def tier_of_priority(priority: Priority) -> AppliedTier:
    """Returns the service tier to report for a priority."""
    return _TIER_OF_PRIORITY[priority]
