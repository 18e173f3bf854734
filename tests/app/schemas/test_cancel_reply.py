"""Reply of DELETE /v1/requests/{id}."""

from __future__ import annotations

import json

import msgspec

from llmcore_app.schemas.cancel_reply import CancelReply


def test_the_reply_has_the_id_and_the_number_of_requests() -> None:
    assert json.loads(msgspec.json.encode(CancelReply("a", 2))) == {"id": "a", "object": "request", "cancelled": 2}
