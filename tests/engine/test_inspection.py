"""Inspection of an engine."""

from __future__ import annotations

import msgspec

from llmcore.engine.engine import Engine
from llmcore.messages import TextPrompt
from tests.engine.engine_requests import pin, request


def test_inspection_shows_numbers_and_no_text(engine: Engine) -> None:
    pin(engine, "library", TextPrompt("The library opens at nine."))
    engine.submit(request("a", "My secret word is " + "banana " * 20, max_tokens=4))
    engine.step()
    shown = engine.inspect()
    assert b"banana" not in shown
    found = msgspec.json.decode(shown)
    assert {slot["state"] for slot in found["slots"]} == {"pinned", "running"}
    assert found["running"][0]["request_id"] == "a"
    assert found["cost_model"]["n_tokens"]
