"""What is told about one HTTP request, in its log line and in the metrics. Never its text."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from starlette.types import Scope

from llmcore.errors import EngineUnavailableError, OverloadedError

_KEY = "llmcore.request_log"
# Printable in headers and logs as it stands, and of a length that nobody minds.
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def _free(n_tokens: int) -> None:
    """Nobody counts."""


@dataclass
class RequestLog:
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
    n_text: int = 0  # tokens of text that was only read or written: tokenized, detokenized, rendered
    n_begun: int = 0  # tokens of work that has no result: it goes on, it failed, or its client left
    n_per_prompt: int = 1  # answers to each prompt, all of which n_prompt counts
    key: str = ""  # the name of the API key; never the key
    may_pin: bool = True  # a right of that key
    limit: str = ""  # which limit of that key refused the request
    reserve: Callable[[int], None] = _free  # tokens, before they are computed; raises ApiError (429)

    @classmethod
    def attach(cls, scope: Scope, endpoint: str) -> RequestLog:
        """Starts the log of a request and puts it into its ASGI scope. The caller's X-Request-Id is taken if it is printable
        and short; otherwise an id is made."""
        unique = secrets.token_hex(12)
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        request_id = given.decode() if _SANE_ID.fullmatch(given) else f"req-{unique}"
        request_log = scope[_KEY] = cls(scope["method"], scope["path"], endpoint, request_id, unique)
        return request_log

    @classmethod
    def from_scope(cls, scope: Scope) -> RequestLog:
        """Returns the log that telemetry.py attached."""
        request_log: RequestLog = scope[_KEY]
        return request_log

    @property
    def n_spent(self) -> int:
        """Tokens as `usage` tells them (a prompt counts once, however many answers it has), and those of text."""
        return self.n_prompt // self.n_per_prompt + self.n_generated + self.n_text + self.n_begun

    @contextlib.contextmanager
    def charge(self, n_tokens: int, n_most: int = 0) -> Iterator[None]:
        """Around work of the engine for n_tokens: reserves these, or n_most. Once the work is done, what it really took is to be
        told in its place; work that fails or is given up costs n_tokens, unless the engine did not take it on."""
        self.reserve(n_most or n_tokens)
        self.n_begun = n_tokens
        try:
            yield
        except (OverloadedError, EngineUnavailableError):
            self.n_begun = 0
            raise
        self.n_begun = 0

    def fail(self, status: int, code: str) -> None:
        """The request failed, even if its response had started with another status."""
        self.status, self.error = status, code
