"""State that the routes share."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest

from llmcore_app.application import create_service
from llmcore_app.config import ServerConfig
from llmcore_app.http.errors import ApiError
from llmcore_app.http.ignored_fields import IgnoredFields
from llmcore_app.service.service import Service
from tests.app.fake_engine import FakeEngine


def test_only_the_served_model_is_accepted(service: Service) -> None:
    ignored = IgnoredFields()
    service.check_model(None, ignored)
    service.check_model("fake", ignored)
    with pytest.raises(ApiError) as caught:
        service.check_model("other", ignored)
    assert not ignored.paths
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")


def test_aliases_and_any_model(engine: FakeEngine) -> None:
    ignored = IgnoredFields()
    service = create_service(engine, ServerConfig(model_alias="gpt-4o, small,gpt-4o,fake", any_model=True), "fake")
    assert service.model_names == ("fake", "gpt-4o", "small")
    service.check_model("small", ignored)
    assert not ignored.paths
    service.check_model("gpt-5", ignored)
    assert ignored.paths == {"model": "model"}


def test_an_effort_needs_a_template_that_has_efforts(service: Service, engine: FakeEngine) -> None:
    ignored = IgnoredFields()
    assert service.applied_effort("low", "reasoning_effort", ignored) == "low"
    assert engine.model is not None
    engine.model = msgspec.structs.replace(engine.model, has_reasoning_efforts=False)
    assert [service.applied_effort(each, "reasoning_effort", ignored) for each in (None, "none")] == [None, "none"]
    assert not ignored.paths
    assert service.applied_effort("low", "reasoning_effort", ignored) is None
    assert ignored.paths == {"reasoning_effort": "hint"}


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
