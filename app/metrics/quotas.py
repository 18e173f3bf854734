"""Prometheus metrics of CPU quotas: how often and for how long the kernel throttled this service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llmcore.machine.quota import cpu_quotas, cpu_throttling

_LABELS = ("levels_up",)


class QuotaCollector(Collector):
    """Reads the control groups at each scrape. The engine's process is in the same groups. Without a quota all of these metrics
    are absent.

    The label counts levels upwards from the service's own control group (0): a quota at any level throttles all processes
    below it.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        """`root` is the folder of /proc and /sys; tests set it."""
        self._root = root

    def collect(self) -> Iterator[Metric]:
        """Yields the metrics of one scrape."""
        quotas = {quota.n_levels_up: quota.cpus for quota in cpu_quotas(self._root)}
        if not quotas:
            return
        limit = GaugeMetricFamily("llm_service_cpu_quota_cpus", "CPUs allowed by the quota", labels=_LABELS)
        for n_levels_up, cpus in quotas.items():
            limit.add_metric([str(n_levels_up)], cpus)
        yield limit
        periods = _counter("quota_periods", "quota periods in which a process ran")
        throttled = _counter("throttled_periods", "of these, periods in which the quota was used up")
        seconds = _counter("throttled_seconds", "throttled seconds, summed over CPUs")
        for throttling in cpu_throttling(self._root):
            labels = [str(throttling.quota.n_levels_up)]
            periods.add_metric(labels, throttling.n_periods)
            throttled.add_metric(labels, throttling.n_throttled)
            seconds.add_metric(labels, throttling.throttled_s)
        yield from (family for family in (periods, throttled, seconds) if family.samples)

    def describe(self) -> Iterator[Metric]:
        """Returns nothing: registering must not collect."""
        return iter(())


def _counter(name: str, help: str) -> CounterMetricFamily:
    return CounterMetricFamily(
        f"llm_service_cpu_{name}", f"{help}, since the control group was created", labels=_LABELS
    )
