"""One check of the machine, the installation or a model: its result and advice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from llmcore.errors import printable

CheckStatus = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """Result of a check. `found` is one line; `advice` names what to change if the status is not "ok". With "fail" the service does
    not start."""

    name: str
    status: CheckStatus
    found: str
    advice: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", printable(self.found))


def has_failed(checks: Iterable[Check]) -> bool:
    """Returns True if any check has failed."""
    return any(check.status == "fail" for check in checks)
