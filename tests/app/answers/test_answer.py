"""Answers, put together from the engine's outputs."""

from __future__ import annotations

import httpx

from tests.app.fake_engine import FakeEngine
from tests.app.routes.test_chat import TEXT, events, post


async def test_text_that_was_held_back_comes_with_the_end(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.held_back = " STO"
    engine.reason = "length"
    *_, text, end, _ = events((await post(client, stream=True)).text)
    assert text["choices"][0]["delta"]["content"] == " STO"
    assert end["choices"][0]["finish_reason"] == "length"
    whole = (await post(client)).json()["choices"][0]
    assert whole["message"]["content"] == TEXT + " STO"
    assert whole["finish_reason"] == "length"
