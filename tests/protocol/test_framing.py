"""Frames and messages: everything that is sent arrives as it was, and garbage is an error."""

from __future__ import annotations

import socket

import msgspec
import pytest

from llmcore.protocol import commands as c
from llmcore.protocol.framing import Channel, FrameBuffer, FrameError, frame, frame_length


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
