"""Facts about one HTTP request for its log line, the metrics and the rate limits. Never any of its text."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from starlette.types import Scope

from llmcore.errors import EngineUnavailableError, OverloadedError

from .ignored_fields import IgnoredFields

_KEY = "llmcore.request_log"
# Printable in headers and logs without escapes, and short.
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")


def _reserve_nothing(n_tokens: int) -> None:
    """Accepts any number of tokens: the request has no rate limit."""


@dataclass
class RequestLog:
    method: str
    path: str
    endpoint: str  # the route's pattern, for metric labels: paths are unbounded, patterns are not
    request_id: str
    unique: str  # made by the service: callers may send the same request id, ids in the engine must differ
    started_s: float = field(default_factory=time.monotonic)
    status: int = 0  # 0 until a response starts
    error: str = ""  # code of the error that ended the request
    n_prompt: int = 0
    n_cached: int = 0
    n_generated: int = 0
    ttft_s: float | None = None
    n_text: int = 0  # tokens of text that was tokenized, detokenized or rendered, without computation
    n_begun: int = 0  # tokens of a computation without a result: it is running, it failed, or its client left
    n_per_prompt: int = 1  # answers to each prompt; n_prompt counts the prompt once for each of them
    key: str = ""  # name of the API key; never the key itself
    may_pin: bool = True  # the key may pin and unpin prefixes
    limit: str = ""  # name of the key's limit that refused the request
    ignored: IgnoredFields = field(default_factory=IgnoredFields)  # fields of the body that had no effect
    reserve: Callable[[int], None] = _reserve_nothing  # tokens, before they are computed; raises ApiError (429)

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

    @classmethod
    def find(cls, scope: Scope) -> RequestLog | None:
        """Returns the log, or None outside of telemetry.py."""
        return scope.get(_KEY)

    @property
    def n_spent(self) -> int:
        """Number of tokens to charge: those in `usage` (a prompt counts once, however many answers it has), and those of text."""
        return self.n_prompt // self.n_per_prompt + self.n_generated + self.n_text + self.n_begun

    @contextlib.contextmanager
    def charge(self, n_tokens: int, n_most: int = 0) -> Iterator[None]:
        """Context of a computation estimated at n_tokens, for the key's rate limit. Reserves n_most, or else n_tokens; raises
        ApiError (429) if the limit does not allow it. A computation that fails or is cancelled is charged n_tokens, or nothing
        if the engine did not admit it. After success, the caller sets the real counts."""
        self.reserve(n_most or n_tokens)
        self.n_begun = n_tokens
        try:
            yield
        except (OverloadedError, EngineUnavailableError):
            self.n_begun = 0
            raise
        self.n_begun = 0

    def fail(self, status: int, code: str) -> None:
        """Records a failure, which may come after the response has started with another status."""
        self.status, self.error = status, code
