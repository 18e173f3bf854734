"""Prometheus metrics of one service, in a registry of its own."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import get_args

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

from llmcore.messages import Priority

from ..http.ignored_fields import Kind
from ..http.request_log import RequestLog
from .answers import SPEECH_BUCKETS_S, AnswerMetrics, create_answer_metrics
from .engine import EngineCollector
from .keys import KeyMetrics
from .quotas import QuotaCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST

REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """All metrics of one service. The `model` label always is the served model's id, whatever requests name."""

    def __init__(self, registry: CollectorRegistry, model: str, version: str) -> None:
        self.registry = registry
        self._model = model
        self.engine = EngineCollector(model)
        registry.register(self.engine)
        registry.register(QuotaCollector())
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        Info("llm_service_build", "version of the running service", registry=registry).info(
            {"version": version, "model": model, "python": platform.python_version()}
        )
        self.tasks = Gauge("llm_service_tasks", "asyncio tasks of the HTTP process", registry=registry)
        self._requests = Counter(
            "llm_service_requests", "HTTP requests", ["endpoint", "status", "model"], registry=registry
        )
        self._duration = Histogram(
            "llm_service_request_duration_seconds",
            "from the request's head to the end of its response",
            ["endpoint", "model"],
            buckets=REQUEST_BUCKETS_S,
            registry=registry,
        )
        self._prompt, self._cached, self._generated = _token_counters(registry, model)
        self._cancel = Histogram(
            "llm_service_cancel_seconds",
            "from a cancel or a disconnect to the end of the request in the engine",
            ["model"],
            buckets=SPEECH_BUCKETS_S,
            registry=registry,
        ).labels(model)
        ignored = Counter(
            "llm_service_ignored_fields",
            "fields of requests without effect: unknown ones, hints, and names of other models",
            ["kind", "model"],
            registry=registry,
        )
        self._ignored = {kind: ignored.labels(kind, model) for kind in get_args(Kind)}
        self._answers = create_answer_metrics(registry, model)
        self._keys: KeyMetrics | None = None

    def add_keys(self, names: Sequence[str]) -> None:
        """Adds metrics per API key, labelled by these names."""
        self._keys = KeyMetrics(self.registry, names, self._model)

    def for_priority(self, priority: Priority) -> AnswerMetrics:
        """Returns the metrics of answers to requests of that priority."""
        return self._answers[priority]

    def observe_request(self, request_log: RequestLog, duration_s: float) -> None:
        """Counts an HTTP request that has ended."""
        self._requests.labels(request_log.endpoint, str(request_log.status), self._model).inc()
        self._duration.labels(request_log.endpoint, self._model).observe(duration_s)
        self._prompt.inc(request_log.n_prompt)
        self._cached.inc(request_log.n_cached)
        self._generated.inc(request_log.n_generated)
        for kind in request_log.ignored.paths.values():
            self._ignored[kind].inc()
        if self._keys is not None and request_log.key:
            self._keys.observe_request(request_log)

    def observe_cancel(self, latency_s: float) -> None:
        """Adds the time from a cancel to the end of the request in the engine."""
        self._cancel.observe(latency_s)

    def render(self) -> bytes:
        """Returns the metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def _token_counters(registry: CollectorRegistry, model: str) -> tuple[Counter, Counter, Counter]:
    """Returns the counters of prompt, cached and generated tokens."""
    tokens = Counter(
        "llm_service_tokens",
        "tokens: prompt, of these cached, and generated",
        ["kind", "model"],
        registry=registry,
    )
    prompt, cached, generated = (tokens.labels(kind, model) for kind in ("prompt", "cached", "generated"))
    return prompt, cached, generated
