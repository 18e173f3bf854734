"""How much a caller may ask for in a minute, and at once. Pure policy: times are passed in, nothing is told to anybody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Limit = Literal["requests", "tokens", "concurrent"]

# Less than this is missing because of rounding, not because it was spent.
_EPSILON = 1e-6
# Nobody knows when a running request ends: ask again soon.
CONCURRENT_RETRY_S = 1.0


@dataclass(frozen=True)
class RateLimits:
    """0 is no limit."""

    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrent: int = 0


@dataclass(frozen=True)
class RateRefusal:
    limit: Limit
    retry_after_s: float
    message: str


class Bucket:
    """A token bucket that holds a minute's worth and refills evenly.

    What was spent without being known before (the length of an answer) may leave it in debt: `-∞ < level ≤ capacity`. So
    in any t seconds no more than capacity · (1 + t / 60) is spent, beyond the debt of what was admitted last.
    """

    def __init__(self, per_minute: int, now_s: float) -> None:
        assert per_minute > 0, "no limit has no bucket"
        self.capacity = per_minute
        self._per_s = per_minute / 60
        self._level = float(per_minute)
        self._at_s = now_s

    def level(self, now_s: float) -> float:
        self._level = min(self.capacity, self._level + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = max(self._at_s, now_s)
        return self._level

    def wait_s(self, n: float, now_s: float) -> float:
        """Seconds until n may be taken, 0 if now. More than it ever holds needs it full."""
        missing = min(n, self.capacity) - self.level(now_s)
        return missing / self._per_s if missing > _EPSILON else 0.0

    def take(self, n: float, now_s: float) -> None:
        """Of a negative n: gives back."""
        self._level = min(self.capacity, self.level(now_s) - n)

    def full_in_s(self, now_s: float) -> float:
        return (self.capacity - self.level(now_s)) / self._per_s


class Meter:
    """What one caller has spent. A request is `enter`, `reserve` (once it is known what it may cost), `settle`, `leave`.

    What is refused costs nothing; so a caller who asks again and again is not kept out for it.
    """

    def __init__(self, limits: RateLimits, now_s: float) -> None:
        self.limits = limits
        self.n_running = 0
        self.requests = Bucket(limits.requests_per_minute, now_s) if limits.requests_per_minute else None
        self.tokens = Bucket(limits.tokens_per_minute, now_s) if limits.tokens_per_minute else None

    def enter(self, now_s: float) -> RateRefusal | None:
        """None if the request may go on; then it counts until `leave`."""
        limits = self.limits
        if limits.concurrent and self.n_running >= limits.concurrent:
            message = f"This key has {self.n_running} requests under way, and at most {limits.concurrent} are allowed."
            return RateRefusal("concurrent", CONCURRENT_RETRY_S, message)
        if self.requests is not None and (wait_s := self.requests.wait_s(1, now_s)):
            message = f"This key may send {limits.requests_per_minute} requests per minute."
            return RateRefusal("requests", wait_s, message)
        if (refusal := self._tokens_refusal(1, now_s)) is not None:  # in debt: no need to read what is asked
            return refusal
        if self.requests is not None:
            self.requests.take(1, now_s)
        self.n_running += 1
        return None

    def reserve(self, n_tokens: int, now_s: float) -> RateRefusal | None:
        """None if so many tokens may be spent; they are taken then."""
        refusal = self._tokens_refusal(n_tokens, now_s)
        if refusal is None and self.tokens is not None:
            self.tokens.take(n_tokens, now_s)
        return refusal

    def settle(self, n_reserved: int, n_spent: int, now_s: float) -> None:
        """What a request really took stands instead of what was reserved for it."""
        if self.tokens is not None:
            self.tokens.take(n_spent - n_reserved, now_s)

    def leave(self) -> None:
        """The request has ended."""
        self.n_running -= 1

    def _tokens_refusal(self, n_tokens: int, now_s: float) -> RateRefusal | None:
        if self.tokens is None or not (wait_s := self.tokens.wait_s(n_tokens, now_s)):
            return None
        message = f"This key may use {self.limits.tokens_per_minute} tokens per minute, of prompts and answers."
        return RateRefusal("tokens", wait_s, message)

    def headers(self, now_s: float) -> dict[str, str]:
        """OpenAI's: limits, what is left of them, and when they are whole again."""
        found = {}
        for name, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if bucket is not None:
                found[f"x-ratelimit-limit-{name}"] = str(bucket.capacity)
                found[f"x-ratelimit-remaining-{name}"] = str(max(0, int(bucket.level(now_s) + _EPSILON)))
                found[f"x-ratelimit-reset-{name}"] = duration(bucket.full_in_s(now_s))
        return found


def duration(seconds: float) -> str:
    """As OpenAI writes one: 120ms, 6.5s, 1m0s."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{int(rest)}s" if minutes else f"{rest:.3f}".rstrip("0").rstrip(".") + "s"
