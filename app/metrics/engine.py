"""Prometheus metrics that the engine counts itself, in its own process."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llmcore.messages import EngineStats

# Field of EngineStats, name, meaning.
_GAUGES = (
    ("n_running", "running_requests", "requests in a slot"),
    ("n_waiting", "waiting_requests", "requests that wait for a slot"),
    ("n_tokens_waiting", "waiting_prompt_tokens", "tokens of prompts that nobody has computed yet"),
    ("n_slots", "slots", "requests that can run at the same time"),
    ("n_cells", "cells", "tokens that the KV cache can hold"),
    ("n_cells_used", "cells_used", "tokens that the KV cache holds"),
    ("n_cells_pinned", "cells_pinned", "of these, tokens of pinned prefixes"),
    ("n_host_entries", "host_entries", "evicted sequences in host memory"),
    ("host_bytes", "host_bytes", "host memory that they take"),
    ("host_bytes_max", "host_bytes_max", "host memory that they may take"),
    ("n_embed_waiting", "embed_requests", "requests for embeddings or scores that are not finished"),
    ("prefill_tokens_per_s", "prefill_tokens_per_second", "predicted for a prompt of 512 tokens; 0 while unknown"),
)
_COUNTERS = (
    ("n_steps", "steps", "steps"),
    ("step_s", "step_seconds", "time in steps"),
    ("native_s", "native_seconds", "of that, time in native calls"),
    ("n_tokens_prefilled", "prefilled_tokens", "tokens of prompts that were computed"),
    ("n_prefix_hits", "prefix_hits", "sequences that found at least half of their prompt in the cache"),
    ("n_prefix_misses", "prefix_misses", "sequences that found less of it"),
    ("n_preempted", "preempted", "sequences that went back to the queue for want of cells"),
    ("n_saved", "saved", "sequences that went to host memory"),
    ("n_restored", "restored", "sequences that came back from it"),
    ("n_cancelled", "cancelled", "requests that were cancelled"),
    ("n_embed_passes", "embed_passes", "passes over texts for embeddings or scores"),
    ("n_embed_texts", "embed_texts", "texts that they computed"),
    ("n_embed_tokens", "embed_tokens", "tokens of these"),
    ("embed_s", "embed_seconds", "time in these passes"),
)


class EngineCollector(Collector):
    """`stats` is set before a scrape, None where the engine cannot tell. Counters begin anew with the engine's process."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.stats: EngineStats | None = None
        self.is_ready = False
        self.n_restarts = 0

    def collect(self) -> Iterator[Metric]:
        yield self._gauge("up", "1 if the engine takes requests", int(self.is_ready))
        yield self._counter("restarts", "starts of the engine's process after its first", self.n_restarts)
        if self.stats is None:  # absent is truer than zero
            return
        for field, name, help in _GAUGES:
            yield self._gauge(name, help, getattr(self.stats, field))
        for field, name, help in _COUNTERS:
            yield self._counter(name, help + ", since the engine's process started", getattr(self.stats, field))

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
