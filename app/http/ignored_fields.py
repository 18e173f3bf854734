"""Fields of one request that were passed over, for the response header, the log and the metric."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

HEADER = "x-llmcore-ignored"

# Why a field has no effect. "unknown": no endpoint here has it. "hint": its value changes nothing here. "model": another
# model's name, with the option any_model.
Kind = Literal["unknown", "hint", "model"]

_NAME_MAX = 64  # characters of one name in a path
_HEADER_MAX = 512  # characters of the header
_N_PATHS_MAX = 64
_INDEX = re.compile(r"\[\d+\]")
_UNSAFE = re.compile(r"[^A-Za-z0-9_$.\[\]-]")


def join(path: str, name: str) -> str:
    """Returns the path of a field. Its name, which is the caller's text, becomes short and safe for headers and log lines."""
    safe = _UNSAFE.sub("?", name[: _NAME_MAX + 1]) or "?"  # a header must not end in a comma and a blank
    safe = safe if len(safe) <= _NAME_MAX else f"{safe[: _NAME_MAX - 3]}..."
    return f"{path}.{safe}" if path else safe


@dataclass
class IgnoredFields:
    """Paths like `customer.number` or `messages[].timestamp`. Each is noted once, and further ones than _N_PATHS_MAX are only
    counted."""

    refuses_unknown: bool = False  # the option unknown_fields=refuse: an unknown field is an error instead
    paths: dict[str, Kind] = field(default_factory=dict)
    n_more: int = 0  # fields that are not in `paths`

    def add(self, path: str, kind: Kind) -> None:
        """Notes a field. Only join() may put a caller's text into its path."""
        path = _INDEX.sub("[]", path)
        if path in self.paths:
            return
        if len(self.paths) < _N_PATHS_MAX:
            self.paths[path] = kind
        else:
            self.n_more += 1

    def header(self) -> str:
        """Returns the header's value: paths with commas between, and the number of those that did not fit. Empty without any."""
        shown: list[str] = []
        length = 0
        for path in self.paths:
            length += len(path) + 2
            if length > _HEADER_MAX:
                break
            shown.append(path)
        n_more = len(self.paths) - len(shown) + self.n_more
        return ", ".join([*shown, *([f"and {n_more} more"] if n_more else [])])
