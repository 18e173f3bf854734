"""Replies on their way to the client: one that cannot be encoded fails its own request or call."""

from __future__ import annotations

import socket

from llmcore.messages import Accepted, Failed, Piece
from llmcore.protocol.framing import Channel
from llmcore.protocol.outbox import Outbox
from llmcore.protocol.replies import Reply, StepReply, TokensReply


def test_an_output_that_cannot_be_encoded_fails_alone() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outbox, receiver = Outbox(Channel(ours, Reply)), Channel[Reply](theirs, Reply)
        assert outbox.send(StepReply((Piece("a", "fine", 1), Piece("b", "\ud800", 1), Accepted("c", 1)))) == ["b"]
        told = [receiver.receive() for _ in range(3)]
        assert outbox.send(TokensReply(5, (2**70,))) == []
        reply = receiver.receive()
        receiver._file.close()
        outbox._channel._file.close()
    assert [each.outputs[0] for each in told if isinstance(each, StepReply)][::2] == [
        Piece("a", "fine", 1),
        Accepted("c", 1),
    ]
    assert isinstance(told[1], StepReply)
    assert isinstance(told[1].outputs[0], Failed)
    assert told[1].outputs[0].request_id == "b"
    assert getattr(reply, "call_id", None) == 5
    assert not outbox.is_gone
