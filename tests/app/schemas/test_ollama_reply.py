"""Replies of Ollama's API: fields of the last part are absent from the others."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import msgspec

from llmcore_app.schemas.ollama_reply import OllamaGenerateReply


def test_a_part_that_is_not_the_last_has_no_counts() -> None:
    reply = OllamaGenerateReply(model="m", created_at=datetime(2026, 1, 2, tzinfo=timezone.utc), response="a")
    assert json.loads(msgspec.json.encode(reply)) == {
        "model": "m",
        "created_at": "2026-01-02T00:00:00Z",
        "done": False,
        "response": "a",
    }
