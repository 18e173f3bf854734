"""Metrics of one service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from llmcore_app.http.request_log import RequestLog
from llmcore_app.metrics.service import Metrics
from tests.app.metrics.scrape import lines


def created() -> Metrics:
    return Metrics(CollectorRegistry(), "fake", "1.2.3")


def request(key: str = "") -> RequestLog:
    log = RequestLog("POST", "/a/b", "/a/{name}", "call", "unique", status=200, key=key)
    log.n_prompt, log.n_cached, log.n_generated = 5, 3, 2
    return log


def test_a_request_is_counted_by_its_route_and_status() -> None:
    metrics = created()
    metrics.observe_request(request(), 0.02)
    found = lines(metrics.registry, "llm_service_")
    assert 'llm_service_requests_total{endpoint="/a/{name}",model="fake",status="200"} 1.0' in found
    assert 'llm_service_request_duration_seconds_sum{endpoint="/a/{name}",model="fake"} 0.02' in found
    for kind, n in (("prompt", 5), ("cached", 3), ("generated", 2)):
        assert f'llm_service_tokens_total{{kind="{kind}",model="fake"}} {float(n)}' in found


def test_metrics_per_key_exist_only_with_keys() -> None:
    metrics = created()
    metrics.observe_request(request("ann"), 0.02)
    assert not lines(metrics.registry, "llm_service_key_")
    metrics.add_keys(["ann"])
    metrics.observe_request(request(), 0.02)
    metrics.observe_request(request("ann"), 0.02)
    found = lines(metrics.registry, "llm_service_key_requests_total")
    assert found == ['llm_service_key_requests_total{key="ann",model="fake",status="200"} 1.0']


def test_cancels_and_the_build_are_there() -> None:
    metrics = created()
    metrics.observe_cancel(0.04)
    page = metrics.render().decode()
    assert 'llm_service_cancel_seconds_count{model="fake"} 1.0' in page
    assert 'version="1.2.3"' in page
    assert metrics.for_priority("high") is not metrics.for_priority("low")
