"""State that the routes share."""

from __future__ import annotations

import asyncio
import time

import pytest

from llmcore_app.http.errors import ApiError
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine


def test_only_the_served_model_is_accepted(service: Service) -> None:
    service.check_model(None)
    service.check_model("fake")
    with pytest.raises(ApiError) as caught:
        service.check_model("other")
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")


@pytest.mark.parametrize("state", ["loading", "restarting", "failed", "stopped"])
def test_a_service_is_unready_with_its_engine(service: Service, engine: FakeEngine, state: str) -> None:
    assert service.unready_reason == ""
    engine.state = state
    assert service.unready_reason == state


async def test_statistics_of_an_engine_that_does_not_answer_are_none(
    service: Service, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await service.stats() is not None
    monkeypatch.setattr("llmcore_app.service.service.STATS_TIMEOUT_S", 0.01)
    engine.stats_delay_s = 3600.0
    assert await service.stats() is None
    engine.stats_delay_s, engine.state = 0.0, "restarting"
    assert await service.stats() is None


async def test_a_drain_refuses_new_requests_and_waits_for_running_ones(service: Service, engine: FakeEngine) -> None:
    service.check_not_draining()
    service.n_active = 1
    drain = asyncio.create_task(service.drain(60.0))
    await asyncio.sleep(0.1)
    assert (service.unready_reason, engine.state) == ("draining", "ready")
    with pytest.raises(ApiError) as caught:
        service.check_not_draining()
    assert caught.value.status == 503
    service.n_active = 0
    await drain
    assert engine.state == "stopped"


async def test_a_drain_ends_what_does_not_end_in_time(service: Service, engine: FakeEngine) -> None:
    service.n_active = 1
    begun_s = time.monotonic()
    await service.drain(0.1)
    assert 0.1 <= time.monotonic() - begun_s < 30
    assert engine.state == "stopped"
