"""What one look at the machine, the installation or a model found, and what to change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from llmcore.errors import printable

CheckStatus = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """`found` is one line. `advice` says what to change, where the status is not ok; with "fail" the service does not start."""

    name: str
    status: CheckStatus
    found: str
    advice: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", printable(self.found))


def has_failed(checks: Iterable[Check]) -> bool:
    return any(check.status == "fail" for check in checks)
