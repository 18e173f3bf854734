"""The engine's state as JSON, for debugging: numbers and names only, no text and no tokens."""

from __future__ import annotations

from typing import Any

import msgspec

from llmcore.engine.speculation import Speculation
from llmcore.messages import PRIORITIES
from llmcore.scheduling.scheduler import Scheduler
from llmcore.sequence import Sequence


def inspect(scheduler: Scheduler, speculation: Speculation, now_s: float) -> bytes:
    """Returns slots, queue, host cache, cost model and drafters."""
    cache = scheduler.cache
    found: dict[str, Any] = {
        "limits": msgspec.to_builtins(scheduler.limits),
        "slots": [
            {
                "slot": index,
                "state": "running" if slot.owner else "pinned" if slot.pin else "idle",
                "request_id": slot.owner.request_id if slot.owner else None,
                "pin": slot.pin,
                "n_tokens": len(slot.tokens),
                # (number of tokens, slots that share them), from the first token on
                "runs": [[each.n, sorted(each.slots)] for each in cache.slots.ranges.of(index)],
            }
            for index, slot in enumerate(cache.slots)
            if slot.tokens or slot.is_held
        ],
        "n_slots": cache.n_slots,
        "n_cells": cache.n_cells,
        "n_cells_used": cache.n_cells_used,
        "running": [_sequence(each, now_s) for each in scheduler.running],
        "waiting": [_sequence(each, now_s) | {"waits_for": scheduler.leader_of(each)} for each in scheduler.waiting],
        "host": None,
        "cost_model": scheduler.costs.describe(),
        "speculation": {
            "drafters": speculation.names,
            "off_because": speculation.reason,
            "drafted": speculation.drafted,
            "accepted": speculation.accepted,
        },
        "prefill_tokens_per_s": scheduler.admission.prefill_tokens_per_s,
    }
    if cache.host is not None:
        entries = cache.host.entries()
        found["host"] = {
            "n_bytes": cache.host.n_bytes,
            "n_bytes_max": cache.host.n_bytes_max,
            "entries": [
                {"start": each.start, "n_tokens": len(each.tokens), "n_bytes": each.n_bytes} for each in entries
            ],
        }
    return msgspec.json.encode(found)


def _sequence(sequence: Sequence, now_s: float) -> dict[str, Any]:
    return {
        "request_id": sequence.request_id,
        "phase": sequence.phase,
        "priority": PRIORITIES[sequence.priority],
        "slot": sequence.slot,
        "age_s": now_s - sequence.arrived_s,
        "n_prompt": sequence.n_prompt,
        "n_cached": sequence.n_cached,
        "n_restored": sequence.n_restored,
        "n_computed": sequence.n_computed,
        "n_generated": sequence.n_generated,
        "n_expected": sequence.n_expected,
    }
