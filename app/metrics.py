"""Prometheus metrics of the service, in a registry of its own."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llmcore.messages import EngineStats, Usage

from .record import Record

CONTENT_TYPE = CONTENT_TYPE_LATEST

# What somebody who listens can tell apart: fine up to a second, coarse where patience ends.
SPEECH_BUCKETS_S = (
    *(0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75),
    *(1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0),
)
REQUEST_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Metrics:
    """All metrics of one service. `model` is the served id, the only value that the label takes."""

    def __init__(self, registry: CollectorRegistry, model: str, version: str) -> None:
        self.registry = registry
        self.engine = EngineCollector(model)
        registry.register(self.engine)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        Info("llm_service_build", "what is running", registry=registry).info(
            {"version": version, "model": model, "python": platform.python_version()}
        )
        self._model = model
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
        self._ttft = self._speech(
            "llm_service_time_to_first_token_seconds", "from the request's head to its first token"
        )
        self._gap = self._speech("llm_service_inter_token_seconds", "between two outputs of one answer")
        self._queue = self._speech("llm_service_queue_seconds", "from submission to the first step for the prompt")

    def _speech(self, name: str, help: str) -> Histogram:
        histogram = Histogram(name, help, ["model"], buckets=SPEECH_BUCKETS_S, registry=self.registry)
        return histogram.labels(self._model)

    def request_ended(self, record: Record, duration_s: float) -> None:
        self._requests.labels(record.endpoint, str(record.status), self._model).inc()
        self._duration.labels(record.endpoint, self._model).observe(duration_s)
        self._prompt.inc(record.n_prompt)
        self._cached.inc(record.n_cached)
        self._generated.inc(record.n_generated)

    def first_token(self, ttft_s: float) -> None:
        self._ttft.observe(ttft_s)

    def gap(self, gap_s: float) -> None:
        self._gap.observe(gap_s)

    def answer_ended(self, usage: Usage) -> None:
        self._queue.observe(usage.queue_s)

    def render(self) -> bytes:
        return generate_latest(self.registry)


class EngineCollector(Collector):
    """What the engine counts itself. `stats` is set before a scrape, None where the engine cannot tell."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.stats: EngineStats | None = None
        self.is_ready = False
        self.n_restarts = 0

    def collect(self) -> Iterator[Metric]:
        yield self._gauge("up", "1 if the engine takes requests", int(self.is_ready))
        yield self._counter("restarts", "starts of the engine's process after its first", self.n_restarts)
        stats = self.stats
        if stats is None:  # absent is truer than zero
            return
        yield self._gauge("running_requests", "requests in a slot", stats.n_running)
        yield self._gauge("waiting_requests", "requests that wait for a slot", stats.n_waiting)
        yield self._gauge("slots", "requests that can run at the same time", stats.n_slots)
        yield self._gauge("cells", "tokens that the KV cache can hold", stats.n_cells)
        yield self._gauge("cells_used", "tokens that the KV cache holds", stats.n_cells_used)
        yield self._counter("steps", "steps since the engine's process started", stats.n_steps)

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def _gauge(self, name: str, help: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"llm_service_engine_{name}", help, labels=["model"])
        family.add_metric([self._model], value)
        return family

    def _counter(self, name: str, help: str, value: float) -> Metric:
        family = CounterMetricFamily(f"llm_service_engine_{name}", help, labels=["model"])
        family.add_metric([self._model], value)
        return family
