"""Replies of /props as JSON."""

from __future__ import annotations

import msgspec

from llmcore_app.schemas.props_reply import DefaultSettings, PropsReply


def test_defaults_are_those_of_the_sampler_and_each_has_a_value() -> None:
    params = DefaultSettings(4096).params
    assert (params["temperature"], params["top_k"], params["repeat_last_n"]) == (1.0, 0, 64)
    assert None not in params.values()
    assert "seed" not in params


def test_the_reply_is_json() -> None:
    reply = PropsReply(DefaultSettings(4096), 4, "m", "Q4", "/m.gguf", "llmcore 1")
    decoded = msgspec.json.decode(msgspec.json.encode(reply))
    assert decoded["default_generation_settings"]["n_ctx"] == 4096
    assert (decoded["endpoint_slots"], decoded["endpoint_props"], decoded["is_sleeping"]) == (True, False, False)
