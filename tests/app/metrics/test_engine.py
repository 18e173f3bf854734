"""Metrics that the engine counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from llmcore.messages import EngineStats
from llmcore_app.metrics.engine import EngineCollector
from tests.app.fake_engine import FakeEngine
from tests.app.metrics.scrape import lines


def registered() -> tuple[CollectorRegistry, EngineCollector]:
    registry, collector = CollectorRegistry(), EngineCollector("fake")
    registry.register(collector)
    return registry, collector


def test_without_statistics_only_the_state_is_there() -> None:
    registry, collector = registered()
    collector.n_restarts = 2
    assert lines(registry) == [
        'llm_service_engine_up{model="fake"} 0.0',
        'llm_service_engine_restarts_total{model="fake"} 2.0',
    ]


async def test_statistics_are_gauges_and_counters() -> None:
    registry, collector = registered()
    collector.is_ready, collector.stats = True, await FakeEngine().stats()
    found = lines(registry)
    assert found[0] == 'llm_service_engine_up{model="fake"} 1.0'
    # n_tokens_cached is in llm_service_tokens_total.
    assert len(found) == 2 + len(EngineStats.__struct_fields__) - 1 + len(collector.stats.drafted)  # one by drafter
    assert 'llm_service_engine_draft_tokens_total{drafter="text",model="fake"} 90.0' in found
    assert 'llm_service_engine_accepted_draft_tokens_total{drafter="prediction",model="fake"} 93.0' in found
    n_steps = float(collector.stats.n_steps)
    assert f'llm_service_engine_steps_total{{model="fake"}} {n_steps}' in found
    assert f'llm_service_engine_slots{{model="fake"}} {float(collector.stats.n_slots)}' in found
