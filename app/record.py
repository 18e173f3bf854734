"""What is told about one HTTP request, in its log line and in the metrics. Never its text."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.types import Scope

_KEY = "llmcore.record"
# Printable in headers and logs as it stands, and of a length that nobody minds.
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def _free(n_tokens: int) -> None:
    """Nobody counts."""


@dataclass
class Record:
    method: str
    path: str
    endpoint: str  # the route's pattern: of unbounded paths, only these become label values
    request_id: str
    unique: str  # ours alone, so that two callers with the same request id do not meet in the engine
    started_s: float = field(default_factory=time.monotonic)
    status: int = 0  # 0 until a response starts
    error: str = ""  # the code of the error that ended it
    n_prompt: int = 0
    n_cached: int = 0
    n_generated: int = 0
    ttft_s: float | None = None
    n_per_prompt: int = 1  # answers to each prompt, all of which n_prompt counts
    key: str = ""  # the name of the API key; never the key
    limit: str = ""  # which limit of that key refused the request
    reserve: Callable[[int], None] = _free  # tokens, before they are computed; raises ApiError (429)

    @property
    def n_spent(self) -> int:
        """Tokens as `usage` tells them: a prompt counts once, however many answers it has."""
        return self.n_prompt // self.n_per_prompt + self.n_generated

    def fail(self, status: int, code: str) -> None:
        """The request failed, even if its response had started with another status."""
        self.status, self.error = status, code


def attach(scope: Scope, endpoint: str) -> Record:
    """Makes the record of a request, with the caller's X-Request-Id if that is a sane one."""
    unique = secrets.token_hex(12)
    given = dict(scope["headers"]).get(b"x-request-id", b"")
    request_id = given.decode() if _SANE_ID.fullmatch(given) else f"req-{unique}"
    record = scope[_KEY] = Record(scope["method"], scope["path"], endpoint, request_id, unique)
    return record


def of(scope: Scope) -> Record:
    """The record that telemetry.py attached."""
    record: Record = scope[_KEY]
    return record
