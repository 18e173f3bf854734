"""Prometheus metrics of CPU quotas: how often the machine stopped this service, and for how long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from llmcore.machine.quota import cpu_quotas, cpu_throttling

_LABELS = ("levels_up",)


class QuotaCollector(Collector):
    """Reads the control groups at each scrape. The engine's process is in the same ones. Without a quota there is nothing to
    tell, and each of these metrics is absent.

    The label counts control groups from the service's own (0) upwards: a quota of any of them stops all of its processes.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        """`root` is where /proc and /sys are (for tests)."""
        self._root = root

    def collect(self) -> Iterator[Metric]:
        quotas = {quota.n_levels_up: quota.cpus for quota in cpu_quotas(self._root)}
        if not quotas:
            return
        limit = GaugeMetricFamily("llm_service_cpu_quota_cpus", "CPUs that the quota allows", labels=_LABELS)
        for n_levels_up, cpus in quotas.items():
            limit.add_metric([str(n_levels_up)], cpus)
        yield limit
        periods = _counter("quota_periods", "periods of the quota in which anything ran")
        throttled = _counter("throttled_periods", "of these, periods in which it was used up and everything stopped")
        seconds = _counter("throttled_seconds", "time of being stopped, added up over CPUs")
        for each in cpu_throttling(self._root):
            labels = [str(each.quota.n_levels_up)]
            periods.add_metric(labels, each.n_periods)
            throttled.add_metric(labels, each.n_throttled)
            seconds.add_metric(labels, each.throttled_s)
        yield from (family for family in (periods, throttled, seconds) if family.samples)

    def describe(self) -> Iterator[Metric]:
        return iter(())


def _counter(name: str, help: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"llm_service_cpu_{name}", f"{help}, since the control group was made", labels=_LABELS)
