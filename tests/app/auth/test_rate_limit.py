"""Rate limits. No test waits: the clock is a number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmcore_app.auth.rate_limit import Meter, RateLimits, RateRefusal, TokenBucket, format_duration

PAUSES = st.floats(0, 90, allow_nan=False)


def test_a_minute_holds_what_it_says_and_refills_evenly() -> None:
    meter = Meter(RateLimits(requests_per_minute=3), 0.0)
    assert [meter.admit(0.0) is None for _ in range(4)] == [True, True, True, False]
    refusal = meter.admit(5.0)
    assert refusal is not None
    assert (refusal.limit, refusal.retry_after_s) == ("requests", 15.0)
    assert meter.admit(20.0) is None
    assert meter.admit(20.0) is not None


def test_answers_that_run_at_once() -> None:
    meter = Meter(RateLimits(concurrent=1), 0.0)
    assert meter.admit(0.0) is None
    refusal = meter.admit(0.0)
    assert refusal is not None
    assert refusal.limit == "concurrent"
    meter.release()
    assert meter.admit(0.0) is None


def test_tokens_are_reserved_and_settled() -> None:
    meter = Meter(RateLimits(tokens_per_minute=600), 0.0)
    assert meter.admit(0.0) is None
    assert meter.reserve(500, 0.0) is None
    assert meter.headers(0.0)["x-ratelimit-remaining-tokens"] == "100"
    meter.settle(500, 50, 0.0)
    assert meter.headers(0.0)["x-ratelimit-remaining-tokens"] == "550"


def test_an_answer_that_was_longer_than_thought_is_a_debt() -> None:
    meter = Meter(RateLimits(tokens_per_minute=600), 0.0)
    assert meter.admit(0.0) is None
    assert meter.reserve(10, 0.0) is None
    meter.settle(10, 700, 0.0)
    assert meter.headers(0.0)["x-ratelimit-remaining-tokens"] == "0"
    refusal = meter.admit(0.0)  # refused before its body is read
    assert refusal is not None
    assert (refusal.limit, round(refusal.retry_after_s, 6)) == ("tokens", 10.1)
    assert meter.admit(10.2) is None


def test_more_than_a_minute_holds_needs_all_of_it() -> None:
    meter = Meter(RateLimits(tokens_per_minute=100), 0.0)
    assert meter.reserve(1000, 0.0) is None
    assert isinstance(meter.reserve(1, 0.0), RateRefusal)


def test_what_is_refused_costs_nothing() -> None:
    meter = Meter(RateLimits(requests_per_minute=60, concurrent=1), 0.0)
    assert meter.admit(0.0) is None
    for _ in range(100):
        assert meter.admit(0.0) is not None
    assert meter.headers(0.0)["x-ratelimit-remaining-requests"] == "59"
    assert meter.n_running == 1


def test_no_limits_no_headers() -> None:
    meter = Meter(RateLimits(), 0.0)
    assert all(meter.admit(0.0) is None and meter.reserve(10**9, 0.0) is None for _ in range(1000))
    assert meter.headers(0.0) == {}


def test_headers_are_openai_s() -> None:
    meter = Meter(RateLimits(requests_per_minute=60, tokens_per_minute=6000), 0.0)
    assert meter.admit(0.0) is None
    assert meter.reserve(650, 0.0) is None
    assert meter.headers(0.0) == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "6000",
        "x-ratelimit-remaining-tokens": "5350",
        "x-ratelimit-reset-tokens": "6.5s",
    }


def test_durations() -> None:
    assert [format_duration(s) for s in (0, 0.0123, 0.9, 1, 6.5, 60, 3661.2)] == [
        *("0ms", "12ms", "900ms", "1s", "6.5s", "1m0s", "61m1s")
    ]


@given(st.integers(1, 100), st.lists(st.tuples(PAUSES, st.integers(1, 5)), max_size=60))
def test_no_window_has_more_than_its_share(per_minute: int, calls: list[tuple[float, int]]) -> None:
    meter, now_s = Meter(RateLimits(requests_per_minute=per_minute), 0.0), 0.0
    admitted: list[float] = []
    for pause_s, n in calls:
        now_s += pause_s
        admitted += [now_s for _ in range(n) if meter.admit(now_s) is None]
    for first, start_s in enumerate(admitted):
        for last in range(first, len(admitted)):
            allowed = per_minute * (1 + (admitted[last] - start_s) / 60)
            assert last - first + 1 <= allowed + 1e-3


@given(
    st.integers(1, 10_000), st.lists(st.tuples(PAUSES, st.integers(-500, 20_000)), max_size=40), st.integers(1, 20_000)
)
def test_after_the_returned_wait_the_units_are_available(
    per_minute: int, spent: list[tuple[float, int]], n: int
) -> None:
    bucket, now_s = TokenBucket(per_minute, 0.0), 0.0
    for pause_s, taken in spent:
        now_s += pause_s
        bucket.take(taken, now_s)
        assert bucket.level(now_s) <= per_minute
    wait_s = bucket.wait_s(n, now_s)
    assert wait_s >= 0
    now_s += wait_s
    assert bucket.wait_s(n, now_s + 1e-6) == 0
    now_s += 1e-6
    assert abs(bucket.level(now_s + bucket.full_in_s(now_s)) - per_minute) < 1e-3


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=30))
def test_what_is_settled_is_what_was_spent(requests: list[tuple[int, int]]) -> None:
    """All at one time, so that nothing refills: the level shows the real costs, whatever the estimates were."""
    meter = Meter(RateLimits(tokens_per_minute=1_000_000), 0.0)
    for reserved, _ in requests:
        assert meter.admit(0.0) is None
        assert meter.reserve(reserved, 0.0) is None
    for reserved, spent in requests:
        meter.settle(reserved, spent, 0.0)
        meter.release()
    assert meter.tokens is not None
    assert meter.tokens.level(0.0) == 1_000_000 - sum(spent for _, spent in requests)
    assert meter.n_running == 0


def test_a_clock_that_goes_back_gives_nothing_twice() -> None:
    bucket = TokenBucket(60, 100.0)
    bucket.take(60, 100.0)
    assert bucket.level(101.0) == bucket.level(50.0) == bucket.level(101.0) == 1.0
