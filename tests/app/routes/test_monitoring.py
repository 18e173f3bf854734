"""Health and metrics."""

from __future__ import annotations

import asyncio

import httpx
import msgspec
import pytest
from msgspec import structs
from prometheus_client.parser import text_string_to_metric_families

from llmcore.machine.threads import ThreadDecision, decide_threads
from llmcore.messages import Computation, EngineStats
from llmcore_app.service.service import Service
from tests.app.fake_engine import COMPUTATION, MODEL, WORDS, FakeEngine
from tests.app.routes.test_chat import HELLO, URL


async def samples(client: httpx.AsyncClient) -> dict[str, float]:
    """Returns a map from `name{label=value,...}`, without the label of the model, to the value."""
    response = await client.get("/metrics")
    assert response.status_code == 200
    found = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()) if key != "model")
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_healthz(client: httpx.AsyncClient) -> None:
    response = await client.get("/healthz")
    assert response.status_code == 200
    health = response.json()
    assert set(health) == {"status", "model_loaded", "uptime", "worker"}
    assert health["worker"] == {"state": "ready", "restarts": 0}
    assert (health["status"], health["model_loaded"]) == ("ok", True)
    assert isinstance(health["uptime"], float)


@pytest.mark.parametrize("query", ["verbose", "verbose=1", "verbose=true", "x=1&verbose="])
async def test_verbose_health_tells_the_threads(client: httpx.AsyncClient, engine: FakeEngine, query: str) -> None:
    decision = decide_threads(3, 4)
    engine.model = structs.replace(MODEL, threads=decision, computation=COMPUTATION)
    response = await client.get(f"/healthz?{query}")
    assert response.status_code == 200
    assert msgspec.convert(response.json()["threads"], ThreadDecision) == decision
    assert msgspec.convert(response.json()["computation"], Computation) == COMPUTATION
    engine.model = None
    assert (await client.get(f"/healthz?{query}")).json()["threads"] is None


@pytest.mark.parametrize("query", ["verbose=0", "verbose=false", "unknown=1"])
async def test_health_without_verbose(client: httpx.AsyncClient, query: str) -> None:
    response = await client.get(f"/healthz?{query}")
    assert response.status_code == 200
    assert "threads" not in response.json()


async def test_verbose_with_another_value_is_refused_by_name(client: httpx.AsyncClient) -> None:
    response = await client.get("/healthz?verbose=very")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "verbose"


@pytest.mark.parametrize("state", ["loading", "restarting", "failed"])
async def test_not_ready(client: httpx.AsyncClient, engine: FakeEngine, state: str) -> None:
    engine.state = state
    response = await client.get("/healthz")
    assert response.status_code == 503
    assert (response.json()["status"], response.json()["model_loaded"]) == (state, False)
    assert response.json()["worker"]["state"] == state
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": state})
    assert (await client.get("/livez")).status_code == 200
    assert (await client.post(URL, json=HELLO)).status_code == 503


@pytest.mark.parametrize("path", ["/health", "/v1/health", "/ping"])
async def test_health_in_the_shape_of_other_services(client: httpx.AsyncClient, engine: FakeEngine, path: str) -> None:
    response = await client.get(path)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    for state, message in (("loading", "Loading model"), ("restarting", "The service is restarting")):
        engine.state = state
        response = await client.get(path)
        assert response.status_code == 503
        assert response.json() == {"error": {"message": message, "type": "unavailable_error", "code": 503}}


async def test_ready(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    assert (await client.get("/readyz")).json() == {"status": "ok"}
    engine.is_warm = False  # requests are taken, but are slower than they will be
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": "warming"})
    assert (await client.get("/healthz")).status_code == 200


async def test_probes_ask_nobody(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.admission = asyncio.Event()
    engine.stats_delay_s = 3600.0
    waiting = [asyncio.create_task(client.post(URL, json=HELLO)) for _ in range(50)]
    while len(engine.requests) < 50:
        await asyncio.sleep(0)
    for path in ("/livez", "/readyz", "/healthz", "/health"):
        assert (await client.get(path)).status_code == 200
    engine.admission.set()
    await asyncio.gather(*waiting)


async def test_draining(client: httpx.AsyncClient, service: Service) -> None:
    service.is_draining = True
    response = await client.get("/healthz")
    assert (response.status_code, response.json()["status"]) == (503, "draining")
    ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
    assert (await client.get("/livez")).status_code == 200
    refused = await client.post(URL, json=HELLO)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "engine_unavailable"
    assert refused.headers["connection"] == "close"
    assert "retry-after" in refused.headers


async def test_counts(client: httpx.AsyncClient) -> None:
    assert (await client.post(URL, json=HELLO)).status_code == 200
    assert (await client.post(URL, json={**HELLO, "stream": True})).status_code == 200
    assert (await client.post(URL, json={})).status_code == 400
    found = await samples(client)
    assert found[f"llm_service_requests_total{{endpoint={URL},status=200}}"] == 2
    assert found[f"llm_service_requests_total{{endpoint={URL},status=400}}"] == 1
    assert found[f"llm_service_request_duration_seconds_count{{endpoint={URL}}}"] == 3
    assert found["llm_service_tokens_total{kind=prompt}"] == 14
    assert found["llm_service_tokens_total{kind=cached}"] == 6
    assert found["llm_service_tokens_total{kind=generated}"] == 2 * (len(WORDS) + 1)
    assert found["llm_service_time_to_first_token_seconds_count{priority=normal}"] == 2
    assert found["llm_service_time_to_first_token_seconds_count{priority=high}"] == 0
    assert found["llm_service_inter_token_seconds_count"] == 2 * (len(WORDS) - 1)
    assert found["llm_service_queue_seconds_count{priority=normal}"] == 2
    assert found["llm_service_prefill_seconds_count"] == 2
    assert found["llm_service_prefill_seconds_sum"] == pytest.approx(2 * 0.002)
    assert found["llm_service_tokens_per_second_count"] == 2
    assert found["llm_service_tokens_per_second_sum"] == pytest.approx(2 * len(WORDS) / 0.003)
    assert found["llm_service_engine_waiting_requests"] == 2
    assert found["llm_service_engine_up"] == 1
    assert found["process_resident_memory_bytes"] > 0
    assert any(name.startswith("llm_service_build_info") for name in found)


async def test_buckets_suit_speech(client: httpx.AsyncClient) -> None:
    found = await samples(client)
    for edge in ("0.005", "0.1", "1.0", "10.0"):
        assert f"llm_service_time_to_first_token_seconds_bucket{{le={edge},priority=high}}" in found
        assert f"llm_service_inter_token_seconds_bucket{{le={edge}}}" in found
        assert f"llm_service_cancel_seconds_bucket{{le={edge}}}" in found


async def test_priorities_are_told_apart(client: httpx.AsyncClient) -> None:
    assert (await client.post(URL, json={**HELLO, "priority": "high"})).status_code == 200
    found = await samples(client)
    assert found["llm_service_time_to_first_token_seconds_count{priority=high}"] == 1
    assert found["llm_service_queue_seconds_count{priority=high}"] == 1
    assert found["llm_service_queue_seconds_count{priority=normal}"] == 0


async def test_an_answer_that_never_began_has_no_times(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.reason = "timeout"
    engine.script = lambda request: []
    assert (await client.post(URL, json=HELLO)).status_code == 408
    found = await samples(client)
    assert found["llm_service_time_to_first_token_seconds_count{priority=normal}"] == 0
    assert found["llm_service_prefill_seconds_count"] == 0


async def test_cancels_are_told(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    assert engine.on_cancelled is not None
    engine.on_cancelled(0.04)
    found = await samples(client)
    assert found["llm_service_cancel_seconds_count"] == 1
    assert found["llm_service_cancel_seconds_bucket{le=0.05}"] == 1
    assert found["llm_service_cancel_seconds_bucket{le=0.03}"] == 0


async def test_every_figure_of_the_engine_is_told_or_known_by_another_name(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    stats = await engine.stats()
    elsewhere = {"n_tokens_cached"}  # llm_service_tokens_total
    found = [getattr(stats, name) for name in EngineStats.__struct_fields__ if name not in elsewhere]
    values = {float(value) for each in found for value in (each.values() if isinstance(each, dict) else [each])}
    shown = [value for name, value in (await samples(client)).items() if name.startswith("llm_service_engine_")]
    assert values <= set(shown)


async def test_unknown_paths_make_no_labels(client: httpx.AsyncClient) -> None:
    for path in ("/a", "/b", "/v1/models/x", "/models/y/"):
        await client.get(path)
    found = [name for name in await samples(client) if name.startswith("llm_service_requests_total")]
    assert found == [
        "llm_service_requests_total{endpoint=unknown,status=404}",
        "llm_service_requests_total{endpoint=/v1/models/{model},status=404}",
    ]


async def test_an_engine_that_is_away_or_busy_does_not_hold_a_scrape(
    client: httpx.AsyncClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.state = "restarting"
    engine.n_restarts = 3
    found = await samples(client)
    assert found["llm_service_engine_up"] == 0
    assert found["llm_service_engine_restarts_total"] == 3
    assert "llm_service_engine_running_requests" not in found
    engine.state = "ready"
    engine.stats_delay_s = 3600.0
    monkeypatch.setattr("llmcore_app.service.service.STATS_TIMEOUT_S", 0.01)
    found = await samples(client)
    assert found["llm_service_engine_up"] == 1
    assert "llm_service_engine_running_requests" not in found


async def test_two_services_share_nothing(client: httpx.AsyncClient, service: Service) -> None:
    from llmcore_app.application import create_service

    other = create_service(FakeEngine(), service.config, "other")
    await client.get("/healthz")
    assert b'endpoint="/healthz"' not in other.metrics.render()
