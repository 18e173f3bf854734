"""Replies arrive at the client as they were sent."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from llmcore import messages as m
from llmcore.protocol import replies as r
from llmcore.protocol.framing import Channel

USAGE = m.Usage(n_prompt=5, n_cached=2, n_generated=3, queue_s=0.1, prefill_s=0.2, decode_s=0.3)
INFO = m.ModelInfo(
    path="/m.gguf",
    description="d",
    architecture="llama",
    n_params=1,
    size_bytes=2,
    n_vocab=3,
    n_embd=4,
    n_layer=5,
    n_ctx_train=6,
    n_ctx=7,
    has_chat_template=True,
)
STATS = m.EngineStats(
    n_running=1,
    n_waiting=2,
    n_slots=3,
    n_cells=4,
    n_cells_used=5,
    n_steps=6,
    n_tokens_prefilled=7,
    n_tokens_cached=8,
    n_tokens_generated=9,
)
OUTPUTS = (
    m.Accepted("a", 5),
    m.Piece("a", "hé", 1),
    m.Finished("a", "", "stop", USAGE),
    m.Failed("b", "invalid_request", "why", "field"),
)
REPLIES = [
    r.LoadingReply(0.5),
    r.ReadyReply(INFO),
    r.LoadFailedReply("model_error", "why"),
    r.StepReply(OUTPUTS),
    r.TokensReply(1, (1, 2)),
    r.TextReply(2, "t"),
    r.StatsReply(3, STATS),
    r.CallFailedReply(4, "code", "why"),
]


@pytest.mark.parametrize("reply", REPLIES, ids=lambda each: type(each).__name__)
def test_every_reply_arrives_as_it_was_sent(reply: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender: Channel[Any] = Channel(ours, r.Reply)
        receiver: Channel[Any] = Channel(theirs, r.Reply)
        sender.send(reply)
        assert receiver.receive() == reply
