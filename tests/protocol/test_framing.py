"""Frames and messages: everything that is sent arrives as it was, and garbage is an error."""

from __future__ import annotations

import socket
from typing import Any

import msgspec
import pytest

from llmcore import messages as m
from llmcore.config import EngineConfig
from llmcore.protocol import commands as c
from llmcore.protocol import replies as r
from llmcore.protocol.framing import Channel, FrameBuffer, FrameError, frame, frame_length
from llmcore.sampling import SamplingParams

USAGE = m.Usage(n_prompt=5, n_cached=2, n_generated=3, queue_s=0.1, prefill_s=0.2, decode_s=0.3)
SAMPLING = SamplingParams(temperature=0.5, seed=1, logit_bias={3: 1.0})
REQUESTS = [
    m.GenerateRequest(request_id="a", prompt=prompt, sampling=SAMPLING, max_tokens=5, stop=("x", "é"))
    for prompt in (
        m.ChatPrompt(b'[{"role": "user", "content": "h\xc3\xa9"}]'),
        m.TextPrompt("t"),
        m.TokensPrompt((1, 2)),
    )
]
COMMANDS = [
    c.ConfigureCommand(EngineConfig(model_path="/m.gguf", n_ctx=512)),
    *(c.SubmitCommand(request) for request in REQUESTS),
    c.CancelCommand("a"),
    c.TokenizeCommand(1, "text", add_special=True, parse_special=False),
    c.DetokenizeCommand(2, (1, 2, 3)),
    c.GetStatsCommand(3),
    c.ShutdownCommand(),
]
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


@pytest.mark.parametrize(
    ("message", "kind"),
    [*((each, c.Command) for each in COMMANDS), *((each, r.Reply) for each in REPLIES)],
    ids=lambda value: type(value).__name__ if isinstance(value, msgspec.Struct) else "",
)
def test_every_message_arrives_as_it_was_sent(message: Any, kind: Any) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender: Channel[Any] = Channel(ours, kind)
        receiver: Channel[Any] = Channel(theirs, kind)
        sender.send(message)
        assert receiver.receive() == message


def test_the_end_of_the_other_side_ends_the_iteration() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        receiver: Channel[c.Command] = Channel(theirs, c.Command)
        with ours:
            Channel(ours, c.Command).send(c.CancelCommand("a"))
            ours.sendall(b"\x05\x00\x00\x00ab")  # a frame that is cut off
        assert list(receiver) == [c.CancelCommand("a")]


def test_garbage_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        receiver: Channel[c.Command] = Channel(theirs, c.Command)
        ours.sendall(frame({"type": "nonsense"}, msgspec.msgpack.Encoder()))
        with pytest.raises(msgspec.ValidationError):
            receiver.receive()
    with pytest.raises(FrameError):
        frame_length(b"\xff\xff\xff\xff")


@pytest.mark.parametrize("n", [1, 3, 4, 7, 100])
def test_frames_are_cut_out_of_pieces_of_any_size(n: int) -> None:
    encoder, buffer = msgspec.msgpack.Encoder(), FrameBuffer()
    sent = [c.CancelCommand("a"), c.CancelCommand("b" * 20), c.ShutdownCommand()]
    data = b"".join(frame(each, encoder) for each in sent)
    pieces = [data[start : start + n] for start in range(0, len(data), n)]
    found = [message for piece in pieces for message in buffer.feed(piece)]
    assert [msgspec.msgpack.decode(each, type=c.Command) for each in found] == sent
    with pytest.raises(FrameError):
        list(buffer.feed(b"\xff\xff\xff\xff"))
