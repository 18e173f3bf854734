"""Replies of /slots as JSON."""

from __future__ import annotations

import msgspec

from llmcore_app.schemas.slots_reply import NextToken, SlotReply


def test_an_idle_slot_has_every_field() -> None:
    decoded = msgspec.json.decode(msgspec.json.encode(SlotReply(0, 4096)))
    assert decoded == {
        "id": 0,
        "n_ctx": 4096,
        "speculative": False,
        "is_processing": False,
        "request_id": None,
        "n_prompt_tokens": 0,
        "n_prompt_tokens_processed": 0,
        "n_prompt_tokens_cache": 0,
        "next_token": [],
    }


def test_slots_share_no_list() -> None:
    first, second = SlotReply(0, 1), SlotReply(1, 1)
    first.next_token.append(NextToken(has_next_token=True, n_remain=1, n_decoded=1))
    assert second.next_token == []
