"""Rate limits of one API key: requests per minute, tokens per minute, concurrent requests.

Pure policy: callers pass the time in seconds of a monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Limit = Literal["requests", "tokens", "concurrent"]

# Shortfalls up to this are rounding errors.
_EPSILON = 1e-6
# Suggested wait at the limit of concurrent requests: when one of them will end is unknown.
CONCURRENT_RETRY_S = 1.0


@dataclass(frozen=True)
class RateLimits:
    """Limits of one key; 0 is no limit."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrent: int = 0


@dataclass(frozen=True)
class RateRefusal:
    """The limit that refuses a request, and the time after which a retry may succeed."""

    limit: Limit
    retry_after_s: float
    message: str


class TokenBucket:
    """Token bucket that holds one minute's worth and refills evenly.

    The level may become negative, because the length of an answer is known only after it was computed:
    `-∞ < level ≤ capacity`. Any t seconds spend at most capacity · (1 + t / 60), plus the debt of the last admitted request.
    """

    def __init__(self, per_minute: int, now_s: float) -> None:
        assert per_minute > 0, "a limit of 0 needs no bucket"
        self.capacity = per_minute
        self._per_s = per_minute / 60
        self._level = float(per_minute)
        self._at_s = now_s

    def level(self, now_s: float) -> float:
        """Number of units available now; negative while in debt. A clock that goes back adds nothing."""
        self._level = min(self.capacity, self._level + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = max(self._at_s, now_s)
        return self._level

    def wait_s(self, n: float, now_s: float) -> float:
        """Seconds until n units are available, 0 if they are now. An n above the capacity waits for a full bucket."""
        missing = min(n, self.capacity) - self.level(now_s)
        return missing / self._per_s if missing > _EPSILON else 0.0

    def take(self, n: float, now_s: float) -> None:
        """Takes n units, even if fewer are available. A negative n gives units back."""
        self._level = min(self.capacity, self.level(now_s) - n)

    def full_in_s(self, now_s: float) -> float:
        """Seconds until the bucket is full."""
        return (self.capacity - self.level(now_s)) / self._per_s


class Meter:
    """Usage of one key. The calls for a request: `admit`, `reserve` (once its cost is estimated), `settle`, `release`.

    Refused requests cost nothing, so retrying does not prolong the wait.
    """

    def __init__(self, limits: RateLimits, now_s: float) -> None:
        self.limits = limits
        self.n_running = 0
        self.requests = TokenBucket(limits.requests_per_minute, now_s) if limits.requests_per_minute else None
        self.tokens = TokenBucket(limits.tokens_per_minute, now_s) if limits.tokens_per_minute else None

    def admit(self, now_s: float) -> RateRefusal | None:
        """Counts a request as running until `release`. Returns a refusal, and counts nothing, if a limit is reached."""
        limits = self.limits
        if limits.concurrent and self.n_running >= limits.concurrent:
            message = f"This key has {self.n_running} requests under way, and at most {limits.concurrent} are allowed."
            return RateRefusal("concurrent", CONCURRENT_RETRY_S, message)
        if self.requests is not None and (wait_s := self.requests.wait_s(1, now_s)):
            message = f"This key may send {limits.requests_per_minute} requests per minute."
            return RateRefusal("requests", wait_s, message)
        if (refusal := self._refuse_tokens(1, now_s)) is not None:  # in debt: refused before the body is read
            return refusal
        if self.requests is not None:
            self.requests.take(1, now_s)
        self.n_running += 1
        return None

    def reserve(self, n_tokens: int, now_s: float) -> RateRefusal | None:
        """Takes n_tokens. Returns a refusal, and takes nothing, if they are not available."""
        refusal = self._refuse_tokens(n_tokens, now_s)
        if refusal is None and self.tokens is not None:
            self.tokens.take(n_tokens, now_s)
        return refusal

    def settle(self, n_reserved: int, n_spent: int, now_s: float) -> None:
        """Replaces n_reserved tokens by the n_spent that the request really used."""
        if self.tokens is not None:
            self.tokens.take(n_spent - n_reserved, now_s)

    def release(self) -> None:
        """Counts a request as ended."""
        self.n_running -= 1

    def headers(self, now_s: float) -> dict[str, str]:
        """Returns OpenAI's rate-limit headers: limits, remaining units, and time until a full bucket."""
        found = {}
        for name, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if bucket is not None:
                found[f"x-ratelimit-limit-{name}"] = str(bucket.capacity)
                found[f"x-ratelimit-remaining-{name}"] = str(max(0, int(bucket.level(now_s) + _EPSILON)))
                found[f"x-ratelimit-reset-{name}"] = format_duration(bucket.full_in_s(now_s))
        return found

    def _refuse_tokens(self, n_tokens: int, now_s: float) -> RateRefusal | None:
        if self.tokens is None or not (wait_s := self.tokens.wait_s(n_tokens, now_s)):
            return None
        message = f"This key may use {self.limits.tokens_per_minute} tokens per minute, of prompts and answers."
        return RateRefusal("tokens", wait_s, message)


def format_duration(seconds: float) -> str:
    """Formats a duration as OpenAI does: 120ms, 6.5s, 1m0s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{int(rest)}s" if minutes else f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
