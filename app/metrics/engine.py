"""Prometheus metrics that the engine counts in its own process."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llmcore.messages import EngineStats

# (field of EngineStats, name of the metric, help text)
_GAUGES = (
    ("n_running", "running_requests", "requests in a slot"),
    ("n_waiting", "waiting_requests", "requests waiting for a slot"),
    ("n_tokens_waiting", "waiting_prompt_tokens", "prompt tokens that are not computed yet"),
    ("n_slots", "slots", "requests that can run concurrently"),
    ("n_cells", "cells", "tokens that fit into the KV cache"),
    ("n_cells_used", "cells_used", "tokens in the KV cache"),
    ("n_cells_pinned", "cells_pinned", "of these, tokens of pinned prefixes"),
    ("n_host_entries", "host_entries", "evicted sequences in host memory"),
    ("host_bytes", "host_bytes", "bytes of host memory used by them"),
    ("host_bytes_max", "host_bytes_max", "limit of host_bytes"),
    ("n_embed_waiting", "embed_requests", "unfinished requests for embeddings or scores"),
    (
        "prefill_tokens_per_s",
        "prefill_tokens_per_second",
        "predicted prefill speed of a prompt of 512 tokens; 0 while unknown",
    ),
)
_COUNTERS = (
    ("n_steps", "steps", "steps"),
    ("step_s", "step_seconds", "seconds in steps"),
    ("native_s", "native_seconds", "of these, seconds in native calls"),
    ("n_tokens_generated", "answer_tokens", "generated tokens, also of answers that have not ended"),
    ("n_answer_steps", "answer_steps", "steps, counted once for each answer that they gave tokens"),
    ("n_tokens_prefilled", "prefilled_tokens", "computed prompt tokens"),
    ("n_prefix_hits", "prefix_hits", "sequences with at least half of their prompt cached"),
    ("n_prefix_misses", "prefix_misses", "sequences with less of it cached"),
    ("n_preempted", "preempted", "sequences returned to the queue because cells ran out"),
    ("n_saved", "saved", "sequences copied to host memory"),
    ("n_restored", "restored", "sequences copied back from host memory"),
    ("n_cancelled", "cancelled", "cancelled requests"),
    ("n_embed_passes", "embed_passes", "passes over texts for embeddings or scores"),
    ("n_embed_texts", "embed_texts", "texts computed in these passes"),
    ("n_embed_tokens", "embed_tokens", "tokens of these texts"),
    ("embed_s", "embed_seconds", "seconds in these passes"),
)


class EngineCollector(Collector):
    """Shows the attributes, which are set before each scrape. `stats` is None if the engine did not answer; then its metrics are
    absent. Counters restart at 0 with the engine's process."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.stats: EngineStats | None = None
        self.is_ready = False
        self.n_restarts = 0

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics of one scrape."""
        yield self._gauge("up", "1 if the engine accepts requests", int(self.is_ready))
        yield self._counter("restarts", "restarts of the engine's process", self.n_restarts)
        if self.stats is None:  # absent, because 0 would be wrong
            return
        for stats_field, name, help in _GAUGES:
            yield self._gauge(name, help, getattr(self.stats, stats_field))
        for stats_field, name, help in _COUNTERS:
            yield self._counter(name, help + ", since the engine's process started", getattr(self.stats, stats_field))
        yield self._by_drafter("draft_tokens", "tokens of drafts that steps verified", self.stats.drafted)
        yield self._by_drafter("accepted_draft_tokens", "of these, tokens of answers", self.stats.accepted)

    def describe(self) -> Iterator[Metric]:
        """Returns nothing: registering must not collect."""
        return iter(())

    def _gauge(self, name: str, help: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"llm_service_engine_{name}", help, labels=["model"])
        family.add_metric([self._model], value)
        return family

    def _by_drafter(self, name: str, help: str, values: dict[str, int]) -> Metric:
        family = CounterMetricFamily(f"llm_service_engine_{name}", help, labels=["model", "drafter"])
        for drafter, value in values.items():
            family.add_metric([self._model, drafter], value)
        return family

    def _counter(self, name: str, help: str, value: float) -> Metric:
        family = CounterMetricFamily(f"llm_service_engine_{name}", help, labels=["model"])
        family.add_metric([self._model], value)
        return family
