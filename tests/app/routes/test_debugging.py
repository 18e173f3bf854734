"""/props and /slots in llama-server's shape."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from llmcore_app.application import create_app, create_service
from llmcore_app.config import ServerConfig
from tests.app.fake_engine import FakeEngine

INSPECTED = {
    "n_slots": 3,
    "slots": [
        {"slot": 0, "state": "running", "request_id": "call-17", "pin": None, "n_tokens": 12, "runs": []},
        {"slot": 2, "state": "idle", "request_id": None, "pin": None, "n_tokens": 5, "runs": []},
    ],
    "running": [
        {
            "request_id": "call-17",
            "slot": 0,
            "n_prompt": 10,
            "n_cached": 4,
            "n_computed": 12,
            "n_generated": 2,
            "n_expected": 9,
        }
    ],
}


class InspectedEngine(FakeEngine):
    async def inspect(self) -> bytes:
        await super().inspect()
        return msgspec.json.encode(INSPECTED)


@pytest.fixture
async def engine() -> FakeEngine:
    return InspectedEngine()


@pytest.fixture
async def debugged(engine: FakeEngine) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(create_service(engine, ServerConfig(debug=True), "fake"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        yield client


async def test_slots(debugged: httpx.AsyncClient) -> None:
    busy, empty, idle = (await debugged.get("/slots")).json()
    assert (busy["id"], busy["n_ctx"], busy["is_processing"], busy["request_id"]) == (0, 100, True, "call-17")
    assert (busy["n_prompt_tokens"], busy["n_prompt_tokens_processed"], busy["n_prompt_tokens_cache"]) == (10, 6, 4)
    assert busy["next_token"] == [{"has_next_token": True, "n_remain": 7, "n_decoded": 2}]
    assert (empty["id"], empty["is_processing"], empty["n_prompt_tokens"]) == (1, False, 0)
    assert (idle["id"], idle["is_processing"], idle["n_prompt_tokens"], idle["next_token"]) == (2, False, 5, [])


async def test_props(debugged: httpx.AsyncClient) -> None:
    props = (await debugged.get("/props")).json()
    assert props["total_slots"] == 3
    assert (props["model_alias"], props["model_path"]) == ("fake", "/models/fake.gguf")
    assert props["default_generation_settings"]["n_ctx"] == 100
    assert props["default_generation_settings"]["params"]["temperature"] == 1.0
    assert props["modalities"] == {"vision": False, "video": False, "audio": False}


async def test_an_engine_that_is_away(debugged: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.state = "restarting"
    for path in ("/props", "/slots", "/debug/engine"):
        assert (await debugged.get(path)).status_code == 503


async def test_without_the_option_there_are_none(client: httpx.AsyncClient) -> None:
    for path in ("/props", "/slots", "/debug/engine"):
        assert (await client.get(path)).status_code == 404
