"""Metrics of CPU quotas, on synthetic control groups."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from llmcore_app.metrics.quotas import QuotaCollector
from tests.machines import cfs, cpu_max, proc, v1, v2


def told(root: Path) -> list[str]:
    """The samples of a scrape."""
    registry = CollectorRegistry()
    registry.register(QuotaCollector(root))
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_absent_without_a_quota(tmp_path: Path) -> None:
    assert told(tmp_path) == []
    proc(tmp_path, "0::/\n", v2())
    cpu_max(tmp_path, "", "max 100000", "nr_periods 5\nnr_throttled 5\nthrottled_usec 5")
    assert told(tmp_path) == []


def test_read_at_each_scrape(tmp_path: Path) -> None:
    proc(tmp_path, "0::/pod/box\n", v2())
    cpu_max(tmp_path, "pod/box", "150000 100000", "nr_periods 8\nnr_throttled 2\nthrottled_usec 250000")
    assert told(tmp_path) == [
        'llm_service_cpu_quota_cpus{levels_up="0"} 1.5',
        'llm_service_cpu_quota_periods_total{levels_up="0"} 8.0',
        'llm_service_cpu_throttled_periods_total{levels_up="0"} 2.0',
        'llm_service_cpu_throttled_seconds_total{levels_up="0"} 0.25',
    ]
    cpu_max(tmp_path, "pod/box", "150000 100000", "nr_periods 9\nnr_throttled 3\nthrottled_usec 350000")
    assert 'llm_service_cpu_throttled_periods_total{levels_up="0"} 3.0' in told(tmp_path)


def test_each_quota_above_is_told_apart(tmp_path: Path) -> None:
    proc(tmp_path, "2:cpu:/pod/box\n", v1("/sys/fs/cgroup/cpu", "cpu"))
    cfs(tmp_path, "pod/box", -1)
    cfs(tmp_path, "pod", 200_000, stat="nr_periods 4\nnr_throttled 1\nthrottled_time 500000000")
    cfs(tmp_path, "", 400_000)
    assert told(tmp_path) == [
        'llm_service_cpu_quota_cpus{levels_up="1"} 2.0',
        'llm_service_cpu_quota_cpus{levels_up="2"} 4.0',
        'llm_service_cpu_quota_periods_total{levels_up="1"} 4.0',
        'llm_service_cpu_throttled_periods_total{levels_up="1"} 1.0',
        'llm_service_cpu_throttled_seconds_total{levels_up="1"} 0.5',
    ]


def test_a_quota_whose_group_tells_no_more(tmp_path: Path) -> None:
    proc(tmp_path, "0::/\n", v2())
    cpu_max(tmp_path, "", "100000 100000")
    assert told(tmp_path) == ['llm_service_cpu_quota_cpus{levels_up="0"} 1.0']
