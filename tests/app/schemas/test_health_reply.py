"""Replies of the probes: the thread decision is absent unless it was asked for."""

from __future__ import annotations

import json

import msgspec

from llmcore.machine.threads import ThreadDecision, decide_threads
from llmcore_app.schemas.health_reply import HealthReply, WorkerHealth


def test_threads_are_absent_null_or_given() -> None:
    health = HealthReply("ok", True, 1.5, WorkerHealth("ready", 2))
    expected = {"status": "ok", "model_loaded": True, "uptime": 1.5, "worker": {"state": "ready", "restarts": 2}}
    assert json.loads(msgspec.json.encode(health)) == expected
    health.threads = None
    assert json.loads(msgspec.json.encode(health)) == {**expected, "threads": None}
    health.threads = decide_threads(3, 4)
    encoded = msgspec.json.encode(health)
    assert msgspec.convert(json.loads(encoded)["threads"], ThreadDecision) == health.threads
