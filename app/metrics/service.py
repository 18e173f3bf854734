"""Prometheus metrics of the service, in a registry of its own."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from llmcore.messages import PRIORITIES, Priority, Usage

from ..http.request_log import RequestLog
from .engine import EngineCollector
from .keys import KeyMetrics
from .quotas import QuotaCollector
from .rates import tokens_per_s

CONTENT_TYPE = CONTENT_TYPE_LATEST

# What somebody who listens can tell apart: fine up to a second, coarse where patience ends.
SPEECH_BUCKETS_S = (
    *(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0),
)
REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


# A step of a large model on a small machine, to a small model alone on a large one.
RATE_BUCKETS = (
    1.0,
    2.0,
    4.0,
    6.0,
    8.0,
    10.0,
    12.5,
    15.0,
    20.0,
    25.0,
    30.0,
    40.0,
    60.0,
    80.0,
    100.0,
    150.0,
    200.0,
    400.0,
)


class Metrics:
    """All metrics of one service. `model` is the served id, the only value that its label takes."""

    def __init__(self, registry: CollectorRegistry, model: str, version: str) -> None:
        self.registry = registry
        self.engine = EngineCollector(model)
        registry.register(self.engine)
        registry.register(QuotaCollector())
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        Info("llm_service_build", "what is running", registry=registry).info(
            {"version": version, "model": model, "python": platform.python_version()}
        )
        self._model = model
        self.tasks = Gauge("llm_service_tasks", "asyncio tasks of the HTTP process", registry=registry)
        self._requests = Counter(
            "llm_service_requests", "HTTP requests", ["endpoint", "status", "model"], registry=registry
        )
        self._duration = Histogram(
            "llm_service_request_duration_seconds",
            "from the request's head to the end of its answer",
            ["endpoint", "model"],
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )
        tokens = Counter(
            "llm_service_tokens",
            "tokens of prompts; of these, from the cache; and of answers",
            ["kind", "model"],
            registry=registry,
        )
        self._prompt, self._cached, self._generated = (
            tokens.labels(kind, model) for kind in ("prompt", "cached", "generated")
        )
        self._cancel = Histogram(
            "llm_service_cancel_seconds",
            "from a cancel or a hang-up to the end of the request in the engine",
            ["model"],
            buckets=SPEECH_BUCKETS_S,
            registry=registry,
        ).labels(model)
        self._answers = _answers(registry, model)
        self.keys: KeyMetrics | None = None

    def name_keys(self, names: Sequence[str]) -> None:
        """From now on, what is known by key is told by its name."""
        self.keys = KeyMetrics(self.registry, names, self._model)

    def of(self, priority: Priority) -> AnswerMetrics:
        """For the answers to requests of that priority."""
        return self._answers[priority]

    def request_ended(self, record: RequestLog, duration_s: float) -> None:
        self._requests.labels(record.endpoint, str(record.status), self._model).inc()
        self._duration.labels(record.endpoint, self._model).observe(duration_s)
        self._prompt.inc(record.n_prompt)
        self._cached.inc(record.n_cached)
        self._generated.inc(record.n_generated)
        if self.keys is not None and record.key:
            self.keys.request_ended(record)

    def cancelled(self, latency_s: float) -> None:
        self._cancel.observe(latency_s)

    def render(self) -> bytes:
        return generate_latest(self.registry)


class AnswerMetrics:
    """What is told of an answer. The histograms' labels are chosen already: some are told for each token."""

    def __init__(self, ttft: Histogram, gap: Histogram, queue: Histogram, prefill: Histogram, rate: Histogram) -> None:
        self._ttft = ttft
        self._gap = gap
        self._queue = queue
        self._prefill = prefill
        self._rate = rate

    def first_token(self, ttft_s: float) -> None:
        self._ttft.observe(ttft_s)

    def gap(self, gap_s: float) -> None:
        self._gap.observe(gap_s)

    def answer_ended(self, usage: Usage) -> None:
        if not usage.n_generated:
            return  # it was broken off before: its times are of nothing
        self._queue.observe(usage.queue_s)
        self._prefill.observe(usage.prefill_s)
        rate = tokens_per_s([usage])
        if rate is not None:
            self._rate.observe(rate)


def _answers(registry: CollectorRegistry, model: str) -> dict[Priority, AnswerMetrics]:
    def histogram(name: str, help: str, buckets: Sequence[float] = SPEECH_BUCKETS_S, *more: str) -> Histogram:
        return Histogram(f"llm_service_{name}", help, [*more, "model"], buckets=buckets, registry=registry)

    ttft = histogram(
        "time_to_first_token_seconds", "from the request's head to its first token", SPEECH_BUCKETS_S, "priority"
    )
    queue = histogram("queue_seconds", "from submission to the first step for the prompt", SPEECH_BUCKETS_S, "priority")
    gap = histogram("inter_token_seconds", "between two outputs of one answer").labels(model)
    prefill = histogram("prefill_seconds", "from the first step for the prompt to the first token").labels(model)
    rate = histogram("tokens_per_second", "of an answer, from its first token to its last", RATE_BUCKETS).labels(model)
    return {
        priority: AnswerMetrics(ttft.labels(priority, model), gap, queue.labels(priority, model), prefill, rate)
        for priority in PRIORITIES
    }
