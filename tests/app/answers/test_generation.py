"""Generations of one request: admitted together, and closed together."""

from __future__ import annotations

import httpx

from llmcore.errors import EngineDiedError, OverloadedError
from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_completions import post


async def test_one_refused_prompt_of_several_refuses_all(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.refusals = [OverloadedError("the queue is full", retry_after_s=2.5)]
    response = await post(client, prompt=["a", "b", "c"])
    assert response.status_code == 429
    assert response.headers["retry-after"] == "3"
    assert len(engine.cancelled) == 2
    assert not engine.open


async def test_one_failing_answer_of_several_ends_all(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    response = await post(client, prompt=["forever", "die"], max_tokens=1000)
    assert response.status_code == 503
    assert response.json()["error"]["code"] == EngineDiedError.code
    assert not engine.open
