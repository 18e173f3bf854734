"""Histograms of answers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from llmcore.messages import Priority
from llmcore_app.metrics.answers import RATE_BUCKETS, SPEECH_BUCKETS_S, AnswerMetrics, create_answer_metrics
from tests.app.metrics.scrape import lines
from tests.app.metrics.usages import usage


def created() -> tuple[CollectorRegistry, dict[Priority, AnswerMetrics]]:
    registry = CollectorRegistry()
    return registry, create_answer_metrics(registry, "fake")


def counts(registry: CollectorRegistry) -> dict[str, float]:
    """Number of observations of each histogram that has any."""
    found = [line.rsplit(" ", 1) for line in lines(registry) if "_count{" in line]
    return {name: float(value) for name, value in found if float(value)}


def test_waiting_times_have_their_requests_priority() -> None:
    registry, answers = created()
    answers["high"].observe_first_token(0.1)
    answers["low"].observe_gap(0.05)
    answers["normal"].observe_answer(usage(3))
    assert counts(registry) == {
        'llm_service_time_to_first_token_seconds_count{model="fake",priority="high"}': 1,
        'llm_service_inter_token_seconds_count{model="fake"}': 1,
        'llm_service_queue_seconds_count{model="fake",priority="normal"}': 1,
        'llm_service_prefill_seconds_count{model="fake"}': 1,
        'llm_service_tokens_per_second_count{model="fake"}': 1,
    }


def test_an_answer_without_tokens_has_no_times() -> None:
    registry, answers = created()
    answers["normal"].observe_answer(usage(0))
    assert counts(registry) == {}


def test_an_answer_of_one_token_has_no_rate() -> None:
    registry, answers = created()
    answers["normal"].observe_answer(usage(1))
    assert 'llm_service_tokens_per_second_count{model="fake"}' not in counts(registry)
    assert len(counts(registry)) == 2


def test_buckets_ascend() -> None:
    for buckets in (SPEECH_BUCKETS_S, RATE_BUCKETS):
        assert list(buckets) == sorted(set(buckets))
