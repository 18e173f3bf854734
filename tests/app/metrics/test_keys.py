"""Metrics per API key."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from llmcore_app.http.request_log import RequestLog
from llmcore_app.metrics.keys import KeyMetrics
from tests.app.metrics.scrape import lines


def test_tokens_and_refusals_of_configured_keys_start_at_zero() -> None:
    registry = CollectorRegistry()
    KeyMetrics(registry, ["ann", "bob"], "fake")
    found = lines(registry)
    assert len(found) == 2 * (4 + 3)
    assert all(line.endswith(" 0.0") for line in found)


def test_a_request_is_counted_for_its_key() -> None:
    registry = CollectorRegistry()
    metrics = KeyMetrics(registry, ["ann", "bob"], "fake")
    log = RequestLog("POST", "/x", "/x", "call", "unique", status=429, key="ann", limit="tokens")
    log.n_prompt, log.n_cached, log.n_generated, log.n_text = 5, 3, 2, 1
    metrics.observe_request(log)
    assert [line for line in lines(registry) if not line.endswith(" 0.0")] == [
        'llm_service_key_requests_total{key="ann",model="fake",status="429"} 1.0',
        'llm_service_key_tokens_total{key="ann",kind="prompt",model="fake"} 5.0',
        'llm_service_key_tokens_total{key="ann",kind="cached",model="fake"} 3.0',
        'llm_service_key_tokens_total{key="ann",kind="generated",model="fake"} 2.0',
        'llm_service_key_tokens_total{key="ann",kind="text",model="fake"} 1.0',
        'llm_service_key_refused_total{key="ann",limit="tokens",model="fake"} 1.0',
    ]
