"""What is told about one HTTP request, in its log line and in the metrics. Never its text."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field

from starlette.types import Scope

_KEY = "llmcore.record"
# Printable in headers and logs as it stands, and of a length that nobody minds.
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


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
