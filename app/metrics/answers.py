"""Prometheus histograms of generated answers."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Histogram

from llmcore.messages import PRIORITIES, Priority, Usage

from .rates import tokens_per_s

# Fine below a second, where a listener hears the difference; coarse above.
SPEECH_BUCKETS_S = (
    *(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0),
)
# Tokens per second: from a large model on a small machine to a small model alone on a large machine.
RATE_BUCKETS = (
    *(1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.5, 15.0, 20.0, 25.0),
    *(30.0, 40.0, 60.0, 80.0, 100.0, 150.0, 200.0, 400.0),
)


class AnswerMetrics:
    """Histograms of the answers of one priority. Their labels are bound once, because some are observed for every token."""

    def __init__(self, ttft: Histogram, gap: Histogram, queue: Histogram, prefill: Histogram, rate: Histogram) -> None:
        self._ttft = ttft
        self._gap = gap
        self._queue = queue
        self._prefill = prefill
        self._rate = rate

    def observe_first_token(self, ttft_s: float) -> None:
        """Adds the time from the request's head to its first token."""
        self._ttft.observe(ttft_s)

    def observe_gap(self, gap_s: float) -> None:
        """Adds the time between two outputs of one answer."""
        self._gap.observe(gap_s)

    def observe_answer(self, usage: Usage) -> None:
        """Adds the times of an answer that has ended. An answer without tokens has none."""
        if not usage.n_generated:
            return
        self._queue.observe(usage.queue_s)
        self._prefill.observe(usage.prefill_s)
        rate = tokens_per_s([usage])
        if rate is not None:
            self._rate.observe(rate)


def create_answer_metrics(registry: CollectorRegistry, model: str) -> dict[Priority, AnswerMetrics]:
    """Registers the histograms and binds their labels, once per priority."""

    def histogram(name: str, help: str, buckets: Sequence[float] = SPEECH_BUCKETS_S, *labels: str) -> Histogram:
        return Histogram(f"llm_service_{name}", help, [*labels, "model"], buckets=buckets, registry=registry)

    ttft = histogram(
        "time_to_first_token_seconds", "from the request's head to its first token", SPEECH_BUCKETS_S, "priority"
    )
    queue = histogram("queue_seconds", "from submission to the first step for the prompt", SPEECH_BUCKETS_S, "priority")
    gap = histogram("inter_token_seconds", "between two outputs of one answer").labels(model)
    prefill = histogram("prefill_seconds", "from the first step for the prompt to the first token").labels(model)
    rate = histogram(
        "tokens_per_second", "decoding rate of an answer, from its first token to its last", RATE_BUCKETS
    ).labels(model)
    return {
        priority: AnswerMetrics(ttft.labels(priority, model), gap, queue.labels(priority, model), prefill, rate)
        for priority in PRIORITIES
    }
