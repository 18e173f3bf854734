"""Metrics of several replicas on one page."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from llmcore_app.cluster.metrics_pages import merge_pages


def page(n: int) -> str:
    registry = CollectorRegistry()
    Counter("requests", "So many.", ["path"], registry=registry).labels('a "path" {x} y').inc(n)
    Counter("plain", "Without labels.", registry=registry).inc(n)
    Histogram("seconds", "How long.", registry=registry, buckets=(1, 2)).observe(n)
    return generate_latest(registry).decode()


def test_samples_keep_their_values_and_get_a_label() -> None:
    pages = {"one": page(1), "two": page(2)}
    whole = merge_pages(pages)
    families = {family.name: family for family in text_string_to_metric_families(whole)}
    for name in pages:
        expected = [
            (sample.name, {"replica": name, **sample.labels}, sample.value)
            for family in text_string_to_metric_families(pages[name])
            for sample in family.samples
        ]
        found = [
            (sample.name, sample.labels, sample.value)
            for family in families.values()
            for sample in family.samples
            if sample.labels["replica"] == name
        ]
        assert sorted(map(str, found)) == sorted(map(str, expected))
    assert whole.count("# TYPE plain_total ") == 1
