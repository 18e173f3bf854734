"""Replies of /v1/prefixes."""

from __future__ import annotations

import json

import msgspec

from llmcore_app.schemas.prefix_reply import PrefixCard, PrefixDeleted, PrefixList


def test_each_reply_names_its_kind() -> None:
    card = {"name": "bot", "tokens": 7, "computed": False, "object": "prefix"}
    listed = PrefixList([PrefixCard("bot", 7, False)])
    assert json.loads(msgspec.json.encode(listed)) == {"data": [card], "object": "list"}
    deleted = {"name": "bot", "object": "prefix", "deleted": True}
    assert json.loads(msgspec.json.encode(PrefixDeleted("bot"))) == deleted
