"""Rate-limit reservation of one request: tokens are reserved before they are computed and settled afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..http.errors import ApiError
from ..http.request_log import RequestLog
from .keys import ApiKey
from .rate_limit import RateRefusal


class Reservation:
    """One request's share of its key's limits. Call `admit`, `settle` any number of times, and `release` at the end.

    `admit` makes the request log reserve tokens here. `clock` gives seconds.
    """

    def __init__(self, key: ApiKey, request_log: RequestLog, clock: Callable[[], float]) -> None:
        self._meter = key.meter
        self._request_log = request_log
        self._clock = clock
        self._n_reserved = 0

    def admit(self) -> None:
        """Counts the request as running until `release`. Raises ApiError (429) at a limit."""
        self._check(self._meter.admit(self._clock()), self.headers())
        self._request_log.reserve = self._reserve

    def settle(self) -> None:
        """Replaces the reserved tokens by those that the request has used so far."""
        n_spent = self._request_log.n_spent
        self._meter.settle(self._n_reserved, n_spent, self._clock())
        self._n_reserved = n_spent

    def release(self) -> None:
        """Settles, and counts the request as ended."""
        self.settle()
        self._meter.release()

    def headers(self) -> dict[str, str]:
        """Returns the rate-limit headers as of now."""
        return self._meter.headers(self._clock())

    def _reserve(self, n_tokens: int) -> None:
        self._check(self._meter.reserve(n_tokens, self._clock()), {})
        self._n_reserved += n_tokens

    def _check(self, refusal: RateRefusal | None, headers: dict[str, str]) -> None:
        if refusal is not None:
            self._request_log.limit = refusal.limit
            retry = {"retry-after": str(max(1, math.ceil(refusal.retry_after_s)))}
            message = f"Rate limit reached. {refusal.message} Retry in {retry['retry-after']} s."
            raise ApiError(429, "rate_limit_exceeded", message, type="rate_limit_error", headers=retry | headers)
